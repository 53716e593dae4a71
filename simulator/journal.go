package simulator

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/hub"
	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

// JournalEntry is a line of the journal: one committed change of a device.
type JournalEntry struct {
	Seq      uint64         `json:"seq"`
	At       time.Time      `json:"at"`      // by the hub's clock, which may be told to jump
	Written  time.Time      `json:"written"` // by the machine's
	DeviceID string         `json:"deviceId"`
	Kind     hub.ChangeKind `json:"kind"`
	// Service is true for what was asked for over the service API. All else came from the device or the debug API.
	Service bool `json:"service,omitempty"`
	// By is the configuration that wrote, if one did.
	By string `json:"by,omitempty"`
	// Tags, Desired and Reported are the merge patches that were written, null for what was removed.
	Tags     json.RawMessage `json:"tags,omitempty"`
	Desired  json.RawMessage `json:"desired,omitempty"`
	Reported json.RawMessage `json:"reported,omitempty"`
	// Before is the desired section before a write of it.
	Before json.RawMessage `json:"before,omitempty"`

	// The counters after the change, zero once the device is deleted.
	ETag            string `json:"etag,omitempty"`
	Version         int64  `json:"version,omitempty"`
	DesiredVersion  int64  `json:"desiredVersion,omitempty"`
	ReportedVersion int64  `json:"reportedVersion,omitempty"`
}

// journal writes every change to a file, inside the commit: what a caller was told is in it.
type journal struct {
	unsubscribe func()

	mu     sync.Mutex
	file   *os.File
	failed error
}

func keepJournal(h *hub.Hub, path string) (*journal, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("making the journal: %w", err)
	}
	j := &journal{file: file}
	j.unsubscribe = h.Subscribe(j.write)
	return j, nil
}

func (j *journal) write(c hub.Change) {
	line, err := json.Marshal(entryOf(c))
	j.mu.Lock()
	defer j.mu.Unlock()
	if err == nil {
		_, err = j.file.Write(append(line, '\n'))
	}
	if j.failed == nil {
		j.failed = err
	}
}

// close reports the first line that could not be written.
func (j *journal) close() error {
	j.unsubscribe()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failed != nil {
		_ = j.file.Close() // the first failure says more
		return fmt.Errorf("writing the journal: %w", j.failed)
	}
	return j.file.Close()
}

func entryOf(c hub.Change) JournalEntry {
	e := JournalEntry{Seq: c.Seq, At: c.At, Written: time.Now(), DeviceID: c.DeviceID, Kind: c.Kind, Service: c.Service, By: c.By, Tags: rawOf(c.Tags), Desired: rawOf(c.Desired), Reported: rawOf(c.Reported)}
	if c.Desired != nil && c.Before != nil {
		e.Before = rawOf(c.Before.Desired())
	}
	if t := c.After; t != nil {
		e.ETag, e.Version, e.DesiredVersion, e.ReportedVersion = t.ETag(), t.Version(), t.DesiredVersion(), t.ReportedVersion()
	}
	return e
}

func rawOf(o jsontree.Object) json.RawMessage {
	if o == nil {
		return nil
	}
	return jsontree.Append(nil, o)
}

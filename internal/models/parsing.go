package models

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/dtdl"
)

// turn lets one model be parsed at a time in this process: parsing one may take 64 MiB.
var turn = semaphore.NewWeighted(1)

// maxInLine is how many of a tenant wait for their turn, of those who would wait as long as it takes: they are workers of controllers, and not to be
// had by one tenant.
const maxInLine = 4

// ErrLine says that others of the tenant wait for their turn to parse a model: to be tried again.
var ErrLine = errors.New("others of the namespace wait for their turn to parse a model")

// line counts who waits, by tenant.
var line = struct {
	sync.Mutex

	of map[string]int
}{of: map[string]int{}}

// inTurn calls work when it is the caller's turn to parse. It fails if ctx ends before, or with ErrLine.
func inTurn(ctx context.Context, tenant string, work func()) error {
	if !turn.TryAcquire(1) {
		leave, err := standInLine(ctx, tenant)
		if err != nil {
			return err
		}
		defer leave()
		if err := turn.Acquire(ctx, 1); err != nil {
			return fmt.Errorf("waiting for other models to be parsed: %w", err)
		}
	}
	defer turn.Release(1)
	work()
	return nil
}

func standInLine(ctx context.Context, tenant string) (leave func(), err error) {
	line.Lock()
	defer line.Unlock()
	if _, ends := ctx.Deadline(); !ends && line.of[tenant] >= maxInLine {
		return nil, ErrLine
	}
	line.of[tenant]++
	return func() {
		line.Lock()
		defer line.Unlock()
		if line.of[tenant]--; line.of[tenant] == 0 {
			delete(line.of, tenant)
		}
	}, nil
}

// contentKey names documents by their content, and what was asked of them.
type contentKey [sha256.Size]byte

func (k contentKey) String() string { return hex.EncodeToString(k[:]) }

func keyOfContent(id string, own int, documents [][]byte) contentKey {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%q %d\n", id, own)
	for _, document := range documents {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(document)))
		_, _ = h.Write(size[:])
		_, _ = h.Write(document)
	}
	return contentKey(h.Sum(nil))
}

// outcome is what parsing documents came to, without the documents.
type outcome struct {
	digest  string          // of the model's own documents, empty if they are beyond a bound
	device  *dtdl.Interface // nil if it is not sound
	trouble *Trouble        // why it cannot be used
	// violations are the same trouble as it is told at admission, where more may still come.
	violations []string
	missing    []dtdl.Missing
}

// size is how many bytes it takes, about.
func (o *outcome) size() int {
	size := 512
	if o.device != nil {
		size += o.device.Size()
	}
	if o.trouble != nil {
		size += len(o.trouble.Message)
	}
	for _, text := range o.violations {
		size += len(text)
	}
	for _, m := range o.missing {
		size += 100 + len(m.DTMI) + len(m.Interface) + len(m.Path)
	}
	return size
}

// parse parses documents of which the first are the model's own, one model at a time and the same content once.
func (l *Library) parse(ctx context.Context, tenant, id string, own int, documents [][]byte) (contentKey, *outcome, error) {
	key := keyOfContent(id, own, documents)
	found := l.outcome(key)
	if found != nil {
		return key, found, nil
	}
	err := inTurn(ctx, tenant, func() {
		if found = l.outcome(key); found == nil { // another one may have parsed it meanwhile
			found = outcomeOf(id, own, documents)
			l.remember(key, found)
		}
	})
	return key, found, err
}

func (l *Library) outcome(key contentKey) *outcome {
	l.mu.Lock()
	defer l.mu.Unlock()
	found, _ := l.outcomes.get(key)
	return found
}

func (l *Library) remember(key contentKey, o *outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.outcomes.put(key, o, o.size())
}

func outcomeOf(id string, own int, documents [][]byte) *outcome {
	parsed := dtdl.Parse(documents...)
	o := &outcome{missing: parsed.Missing, device: parsed.Interface(id), trouble: judge(parsed, id, own), violations: violationsOf(parsed, id)}
	if dtdl.CheckSize(documents...) == nil {
		o.digest = digest(documents[:own])
	}
	return o
}

// judge says why a model cannot be used, nil if it can: the interfaces of its own documents have to be right, and what the device has must be there.
func judge(parsed *dtdl.Model, id string, own int) *Trouble {
	var mine, others, needs declaration.Violations
	for _, e := range parsed.Errors {
		if e.Document < own {
			mine.Add(e.Error)
		} else {
			others.Add(e.Error)
		}
	}
	for _, m := range parsed.Missing {
		needs.Add(func() string { return m.DTMI })
	}
	switch {
	case len(mine.Texts()) > 0:
		return invalid(strings.Join(mine.Texts(), "; "))
	case parsed.Interface(id) != nil:
		return nil
	case !parsed.Defines(id):
		return invalid(undefined(id))
	case len(parsed.Missing) > 0:
		return &Trouble{Reason: v1alpha1.ReasonMissingInterfaces, Message: "No DeviceModel of the namespace has " + strings.Join(needs.Texts(), ", "), Final: true, OfOther: true, Lacks: true}
	}
	trouble := invalid("Another DeviceModel that it needs is wrong: " + strings.Join(others.Texts(), "; "))
	trouble.OfOther = true
	return trouble
}

func violationsOf(parsed *dtdl.Model, id string) []string {
	var violations declaration.Violations
	for _, e := range parsed.Errors {
		violations.Add(func() string { return "spec.dtdl" + e.Path + ": " + e.Error() })
	}
	if len(parsed.Errors) == 0 && !parsed.Defines(id) {
		violations.Add(func() string { return undefined(id) })
	}
	return violations.Texts()
}

func invalid(message string) *Trouble {
	return &Trouble{Reason: v1alpha1.ReasonInvalidModel, Message: message, Final: true}
}

func undefined(id string) string {
	return fmt.Sprintf("spec.modelID is %s, want an interface that spec.dtdl defines", id)
}

// names are what documents define and need of others.
type names struct {
	defined, missing []string
	broken           bool // they have errors, so there may be more
}

// namesIn reads documents for what they name, when it is their turn.
func namesIn(ctx context.Context, tenant string, documents [][]byte) (found names, err error) {
	err = inTurn(ctx, tenant, func() {
		parsed := dtdl.Parse(documents...)
		found = names{defined: parsed.Defined(), missing: missingOf(parsed.Missing), broken: len(parsed.Errors) > 0}
	})
	return found, err
}

func missingOf(missing []dtdl.Missing) []string {
	ids := make([]string, len(missing))
	for i, m := range missing {
		ids[i] = m.DTMI
	}
	return slices.Compact(ids)
}

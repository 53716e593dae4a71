// Package ledgerstore keeps the record of commands in ConfigMaps.
package ledgerstore

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"os"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/ledger"
)

const (
	// DataKey is where a ConfigMap has the record.
	DataKey     = "commands.json"
	ledgerLabel = "iot.pnp-operator.io/command-ledger"
	// ledgerShards is how many ConfigMaps a namespace has at most. They are made when needed.
	ledgerShards = 8
	// lateAfter is how long what nobody waits for is kept back, for a claim to take it along.
	lateAfter = 5 * time.Second
	// gatherFor is how long a claim waits for others to be written with.
	gatherFor = 100 * time.Millisecond
	// CallTime bounds one call of the API server: a claim that takes longer is not sent.
	CallTime = 3 * time.Second
	// damagedFor is how long a shard that cannot be decoded is not read again.
	damagedFor = 10 * time.Second
)

// Invocation names a command in the ledger: its namespace, and what is recorded there.
type Invocation struct {
	Namespace string
	Key       ledger.Key
}

// InvocationOf returns the name of a command in the record.
func InvocationOf(c *v1alpha1.DeviceCommand) Invocation {
	return Invocation{Namespace: c.Namespace, Key: ledger.KeyOf(c)}
}

// ConfigMapOf returns the name of the ConfigMap that has the record of a command.
func ConfigMapOf(c *v1alpha1.DeviceCommand) string { return shardNameOf(InvocationOf(c)).String() }

// Store keeps the record of commands in ConfigMaps of the operator's own namespace, some for each
// namespace that has commands, by a hash of the command's name. All it read and wrote is kept in
// memory with its resourceVersion: a claim costs no read, and one that is based on an old state is
// refused by the API server, and decided anew.
type Store struct {
	client.Client
	// Reader reads without a cache: nothing is watched.
	Reader client.Reader
	// Namespace of the operator.
	Namespace string
	Log       logr.Logger

	// process names this one in claims.
	process  string
	lifetime context.Context

	mu       sync.Mutex
	shards   map[shardName]*shard
	verified time.Time // when Verify began last
}

// New returns one that has read nothing. After ctx ends, what cannot be written is given up.
func New(ctx context.Context, c client.Client, reader client.Reader, namespace string, log logr.Logger) *Store {
	host, _ := os.Hostname() // a process without one has a random name all the same
	if len(host) > 40 {
		host = host[:40]
	}
	return &Store{
		Client: c, Reader: reader, Namespace: namespace, Log: log, lifetime: ctx, process: host + "_" + uuid.NewString()[:8], shards: map[shardName]*shard{},
	}
}

// DamagedError is a shard that cannot be decoded, or not be read by right.
type DamagedError struct {
	name  string
	cause error
}

// Error names the ConfigMap and the cause.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("reading ConfigMap %q: %v", e.name, e.cause)
}

// Unwrap returns the cause.
func (e *DamagedError) Unwrap() error { return e.cause }

// Look returns what is on record of an invocation, nil if nothing is. A change about to be written
// counts: nobody else may decide against it.
func (l *Store) Look(ctx context.Context, i Invocation) (*ledger.Entry, error) {
	s, leave := l.enter(i)
	defer leave()
	if err := s.load(ctx); err != nil {
		return nil, err
	}
	return s.look(i.Key), nil
}

// HasRoom fails if there is no room for a claim, as far as is known without asking.
func (l *Store) HasRoom(i Invocation) error {
	s, leave := l.enter(i)
	defer leave()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries.HasRoom(i.Key, time.Now())
}

// Claim puts a claim on record, and returns once it is there. It is written with what else has
// gathered meanwhile.
func (l *Store) Claim(ctx context.Context, i Invocation, c ledger.Claim) error {
	c.By = l.process
	s, leave := l.enter(i)
	defer leave()
	return s.apply(ctx, i.Key, func(s ledger.Entries) error { return s.Claim(i.Key, c) })
}

// Conclude puts an outcome on record, and returns once it is there.
func (l *Store) Conclude(ctx context.Context, i Invocation, of ledger.Entry) error {
	s, leave := l.enter(i)
	defer leave()
	return s.apply(ctx, i.Key, func(s ledger.Entries) error { return s.Conclude(i.Key, of) })
}

// ConcludeLater has an outcome put on record soon. If that fails for good, the claim stays open:
// nothing is repeated.
func (l *Store) ConcludeLater(i Invocation, of ledger.Entry) {
	s, leave := l.enter(i)
	defer leave()
	s.later(i.Key, func(s ledger.Entries) error { return s.Conclude(i.Key, of) })
}

// ReleaseLater has it put on record soon that an attempt did not reach its device, and whether that
// is so because the hub took the device for offline.
func (l *Store) ReleaseLater(i Invocation, request string, offline bool) {
	s, leave := l.enter(i)
	defer leave()
	s.later(i.Key, func(s ledger.Entries) error { return s.Release(i.Key, request, offline) })
}

// Flush writes what was kept back.
func (l *Store) Flush(ctx context.Context) {
	for _, s := range l.all() {
		if err := s.flush(ctx); err != nil {
			l.Log.Error(err, "Could not write the record of commands", "configMap", s.name.String())
		}
	}
}

// verifyEvery is how often what is in memory is compared with the API server at most: ten thousand
// objects that were put back tell of one restore.
const verifyEvery = 10 * time.Second

// Verify has all that is in memory compared with what the API server has: that may have been put
// back to an older copy. It does not wait.
func (l *Store) Verify() {
	l.mu.Lock()
	now := time.Now()
	isDue := now.Sub(l.verified) >= verifyEvery
	if isDue {
		l.verified = now
	}
	l.mu.Unlock()
	if !isDue {
		return
	}
	for _, s := range l.all() {
		s.verify()
	}
}

func (l *Store) all() []*shard {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []*shard
	for _, s := range l.shards {
		all = append(all, s)
	}
	return all
}

// shardName is a namespace and the number of one of its shards.
type shardName struct {
	namespace string
	number    uint32
}

// String is the name of the ConfigMap. No namespace has a dot in its name, so that none can take
// the place of another.
func (n shardName) String() string { return fmt.Sprintf("commands.%s.%d", n.namespace, n.number) }

func shardNameOf(i Invocation) shardName {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(i.Key.Name)) // it never fails
	return shardName{i.Namespace, hash.Sum32() % ledgerShards}
}

// enter returns the shard of an invocation, which stays in memory until leave is called, and for as
// long as there is something to write: a ConfigMap has one writer.
func (l *Store) enter(i Invocation) (s *shard, leave func()) {
	name := shardNameOf(i)
	l.mu.Lock()
	defer l.mu.Unlock()
	s = l.shards[name]
	if s == nil {
		s = &shard{ledger: l, name: name, urgent: make(chan struct{}, 1)}
		l.shards[name] = s
	}
	s.users++
	return s, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		s.users--
	}
}

// shed drops from memory the shards of which every entry is forgotten, and that nobody uses.
func (l *Store) shed(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.shards, func(_ shardName, s *shard) bool { return s.users == 0 && s.isOver(now) })
}

// read reads a shard from the API server. One that does not exist is empty.
func (l *Store) read(ctx context.Context, name shardName) (entries ledger.Entries, version string, err error) {
	var m corev1.ConfigMap
	err = l.Reader.Get(ctx, types.NamespacedName{Namespace: l.Namespace, Name: name.String()}, &m)
	switch {
	case apierrors.IsNotFound(err):
		return ledger.Entries{}, "", nil
	case apierrors.IsForbidden(err):
		return nil, "", &DamagedError{name.String(), err}
	case err != nil:
		return nil, "", fmt.Errorf("reading the record of commands: %w", err)
	}
	entries, err = ledger.Decode(m.Data[DataKey])
	if err != nil {
		l.Log.Error(err, "A record of commands cannot be read: the commands that belong there are held", "configMap", name.String())
		return nil, "", &DamagedError{name.String(), err}
	}
	return entries, m.ResourceVersion, nil
}

// write writes a shard over the version that it is about, none if there was none, and returns the
// new one.
func (l *Store) write(ctx context.Context, name shardName, entries ledger.Entries, version string) (string, error) {
	text, err := entries.Encode()
	if err != nil {
		return "", err
	}
	m := &corev1.ConfigMap{Data: map[string]string{DataKey: text}}
	m.Namespace, m.Name, m.ResourceVersion = l.Namespace, name.String(), version
	m.Labels = map[string]string{ledgerLabel: "true", "app.kubernetes.io/managed-by": "pnp-operator"}
	if version == "" {
		err = l.Create(ctx, m)
	} else {
		err = l.Update(ctx, m)
	}
	return m.ResourceVersion, err
}

// ledgerSweep is how often ConfigMaps are looked for that hold nothing any more.
const ledgerSweep = time.Hour

// Start sweeps until ctx ends.
func (l *Store) Start(ctx context.Context) error {
	ticker := time.NewTicker(ledgerSweep)
	defer ticker.Stop()
	for {
		if err := l.sweep(ctx); err != nil && ctx.Err() == nil {
			l.Log.Error(err, "Could not look for records of commands that are over")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// sweep deletes the ConfigMaps of which every entry is forgotten, and drops them from memory. One that
// cannot be decoded is kept.
func (l *Store) sweep(ctx context.Context) error {
	l.shed(time.Now())
	var list corev1.ConfigMapList
	if err := l.Reader.List(ctx, &list, client.InNamespace(l.Namespace), client.HasLabels{ledgerLabel}); err != nil {
		return fmt.Errorf("listing the record of commands: %w", err)
	}
	for i := range list.Items {
		m := &list.Items[i]
		entries, err := ledger.Decode(m.Data[DataKey])
		if err != nil {
			l.Log.Error(err, "A record of commands cannot be read: the commands that belong there are held", "configMap", m.Name)
			continue
		}
		if entries.Forget(time.Now()); len(entries) > 0 {
			continue
		}
		err = l.Delete(ctx, m, client.Preconditions{UID: &m.UID, ResourceVersion: &m.ResourceVersion})
		if client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
			return fmt.Errorf("deleting the record of commands %q: %w", m.Name, err)
		}
	}
	return nil
}

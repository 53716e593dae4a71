package controllers

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
	ledgerKey   = "commands.json"
	ledgerLabel = "iot.pnp-operator.io/command-ledger"
	// ledgerShards is how many ConfigMaps a namespace has at most. They are made when needed.
	ledgerShards = 8
	// lateAfter is how long what nobody waits for is kept back, for a claim to take it along.
	lateAfter = 5 * time.Second
	// gatherFor is how long a claim waits for others to be written with.
	gatherFor = 100 * time.Millisecond
	// ledgerCall bounds one call of the API server: a claim that takes longer is not sent.
	ledgerCall = 3 * time.Second
	// damagedFor is how long a shard that cannot be decoded is not read again.
	damagedFor = 10 * time.Second
)

// invocation names a command in the ledger: its namespace, and what is recorded there.
type invocation struct {
	namespace string
	key       ledger.Key
}

func invocationOf(c *v1alpha1.DeviceCommand) invocation {
	return invocation{namespace: c.Namespace, key: ledger.KeyOf(c)}
}

// Ledger keeps the record of commands in ConfigMaps of the operator's own namespace, some for each
// namespace that has commands, by a hash of the command's name. All it read and wrote is kept in
// memory with its resourceVersion: a claim costs no read, and one that is based on an old state is
// refused by the API server, and decided anew.
type Ledger struct {
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

// NewLedger returns one that has read nothing. After ctx ends, what cannot be written is given up.
func NewLedger(ctx context.Context, c client.Client, reader client.Reader, namespace string, log logr.Logger) *Ledger {
	host, _ := os.Hostname() // a process without one has a random name all the same
	if len(host) > 40 {
		host = host[:40]
	}
	return &Ledger{
		Client: c, Reader: reader, Namespace: namespace, Log: log, lifetime: ctx, process: host + "_" + uuid.NewString()[:8], shards: map[shardName]*shard{},
	}
}

// damagedError is a shard that cannot be decoded, or not be read by right.
type damagedError struct {
	name  string
	cause error
}

func (e *damagedError) Error() string {
	return fmt.Sprintf("reading ConfigMap %q: %v", e.name, e.cause)
}

func (e *damagedError) Unwrap() error { return e.cause }

// Look returns what is on record of an invocation, nil if nothing is. A change about to be written
// counts: nobody else may decide against it.
func (l *Ledger) Look(ctx context.Context, i invocation) (*ledger.Entry, error) {
	s, leave := l.enter(i)
	defer leave()
	if err := s.load(ctx); err != nil {
		return nil, err
	}
	return s.look(i.key), nil
}

// HasRoom fails if there is no room for a claim, as far as is known without asking.
func (l *Ledger) HasRoom(i invocation) error {
	s, leave := l.enter(i)
	defer leave()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries.HasRoom(i.key, time.Now())
}

// Claim puts a claim on record, and returns once it is there. It is written with what else has
// gathered meanwhile.
func (l *Ledger) Claim(ctx context.Context, i invocation, c ledger.Claim) error {
	c.By = l.process
	s, leave := l.enter(i)
	defer leave()
	return s.apply(ctx, i.key, func(s ledger.Entries) error { return s.Claim(i.key, c) })
}

// Conclude puts an outcome on record, and returns once it is there.
func (l *Ledger) Conclude(ctx context.Context, i invocation, of ledger.Entry) error {
	s, leave := l.enter(i)
	defer leave()
	return s.apply(ctx, i.key, func(s ledger.Entries) error { return s.Conclude(i.key, of) })
}

// ConcludeLater has an outcome put on record soon. If that fails for good, the claim stays open:
// nothing is repeated.
func (l *Ledger) ConcludeLater(i invocation, of ledger.Entry) {
	s, leave := l.enter(i)
	defer leave()
	s.later(i.key, func(s ledger.Entries) error { return s.Conclude(i.key, of) })
}

// ReleaseLater has it put on record soon that an attempt did not reach its device, and whether that
// is so because the hub took the device for offline.
func (l *Ledger) ReleaseLater(i invocation, request string, offline bool) {
	s, leave := l.enter(i)
	defer leave()
	s.later(i.key, func(s ledger.Entries) error { return s.Release(i.key, request, offline) })
}

// Flush writes what was kept back.
func (l *Ledger) Flush(ctx context.Context) {
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
func (l *Ledger) Verify() {
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

func (l *Ledger) all() []*shard {
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

func shardNameOf(i invocation) shardName {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(i.key.Name)) // it never fails
	return shardName{i.namespace, hash.Sum32() % ledgerShards}
}

// enter returns the shard of an invocation, which stays in memory until leave is called, and for as
// long as there is something to write: a ConfigMap has one writer.
func (l *Ledger) enter(i invocation) (s *shard, leave func()) {
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
func (l *Ledger) shed(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.shards, func(_ shardName, s *shard) bool { return s.users == 0 && s.isOver(now) })
}

// read reads a shard from the API server. One that does not exist is empty.
func (l *Ledger) read(ctx context.Context, name shardName) (entries ledger.Entries, version string, err error) {
	var m corev1.ConfigMap
	err = l.Reader.Get(ctx, types.NamespacedName{Namespace: l.Namespace, Name: name.String()}, &m)
	switch {
	case apierrors.IsNotFound(err):
		return ledger.Entries{}, "", nil
	case apierrors.IsForbidden(err):
		return nil, "", &damagedError{name.String(), err}
	case err != nil:
		return nil, "", fmt.Errorf("reading the record of commands: %w", err)
	}
	entries, err = ledger.Decode(m.Data[ledgerKey])
	if err != nil {
		l.Log.Error(err, "A record of commands cannot be read: the commands that belong there are held", "configMap", name.String())
		return nil, "", &damagedError{name.String(), err}
	}
	return entries, m.ResourceVersion, nil
}

// write writes a shard over the version that it is about, none if there was none, and returns the
// new one.
func (l *Ledger) write(ctx context.Context, name shardName, entries ledger.Entries, version string) (string, error) {
	text, err := entries.Encode()
	if err != nil {
		return "", err
	}
	m := &corev1.ConfigMap{Data: map[string]string{ledgerKey: text}}
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
func (l *Ledger) Start(ctx context.Context) error {
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
func (l *Ledger) sweep(ctx context.Context) error {
	l.shed(time.Now())
	var list corev1.ConfigMapList
	if err := l.Reader.List(ctx, &list, client.InNamespace(l.Namespace), client.HasLabels{ledgerLabel}); err != nil {
		return fmt.Errorf("listing the record of commands: %w", err)
	}
	for i := range list.Items {
		m := &list.Items[i]
		entries, err := ledger.Decode(m.Data[ledgerKey])
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

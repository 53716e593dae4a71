package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// What a control plane keeps in its folder, beside the logs and pid files.
const (
	marker            = "controlplane.lock" // shows that the folder is ours, and is locked while processes start or stop
	keysFolder        = "pki"
	etcdFolder        = "etcd"
	kubeconfig        = "kubeconfig"
	managerKubeconfig = "controller-manager.kubeconfig"
	serverFile        = "server" // the API server's address
)

const markerText = "This folder belongs to the command controlplane, which empties it at every start.\n"

// errNotReady is returned by status for a control plane that is not up.
var errNotReady = errors.New("the control plane is not ready")

// controlPlane is the control plane of one folder.
type controlPlane struct {
	dir    string
	assets string // the folder of the binaries
	grace  time.Duration
	out    io.Writer
}

func (c *controlPlane) part(name string) part { return part{name: name, dir: c.dir} }

func (c *controlPlane) sayf(format string, args ...any) {
	_, _ = fmt.Fprintf(c.out, format+"\n", args...)
}

// up starts the control plane and leaves it running. It does nothing if it runs already.
func (c *controlPlane) up(ctx context.Context, timeout time.Duration) error {
	unlock, err := c.claim(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if c.whole() && c.ready(ctx) == nil {
		c.sayf("A control plane already runs in %s", c.dir)
		c.sayHow()
		return nil
	}
	if _, err := c.start(ctx, timeout); err != nil {
		return err
	}
	c.sayf("Stop it with: controlplane down %s", c.dir)
	return nil
}

// run starts the control plane, waits until ctx ends and stops it. It returns an error if a process ends before that,
// unless down ended it.
func (c *controlPlane) run(ctx context.Context, timeout time.Duration) error {
	unlock, err := c.claim(ctx)
	if err != nil {
		return err
	}
	if c.whole() {
		unlock()
		return fmt.Errorf("a control plane already runs in %q", c.dir)
	}
	children, err := c.start(ctx, timeout)
	unlock()
	if err != nil {
		return err
	}
	ended := firstExit(children)
	select {
	case <-ctx.Done():
		return c.down(context.WithoutCancel(ctx))
	case gone := <-ended:
		// A down elsewhere holds the lock until it has removed every pid file.
		recorded, err := c.stopIfRecorded(context.WithoutCancel(ctx), gone.part)
		if err != nil || !recorded {
			return err
		}
		return exitError(gone)
	}
}

// stopIfRecorded stops the control plane if the part still has a pid file, which is so unless down has removed it.
func (c *controlPlane) stopIfRecorded(ctx context.Context, p part) (bool, error) {
	unlock, err := c.lock(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	if _, err := os.Stat(p.pidFile()); errors.Is(err, fs.ErrNotExist) {
		c.sayf("Stopped by another command")
		return false, nil
	}
	return true, c.stop()
}

// down stops the control plane, if it runs.
func (c *controlPlane) down(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(c.dir, marker)); errors.Is(err, fs.ErrNotExist) {
		c.sayf("No control plane was started in %s", c.dir)
		return nil
	}
	if err := c.resolve(); err != nil {
		return err
	}
	unlock, err := c.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return c.stop()
}

// status prints what runs and returns errNotReady unless the control plane is up.
func (c *controlPlane) status(ctx context.Context) error {
	if err := c.resolve(); err != nil {
		return err
	}
	for _, name := range startOrder {
		process, err := c.part(name).find()
		switch {
		case errors.Is(err, errNotRunning):
			c.sayf("%-24s not running", name)
		case err != nil:
			return err
		default:
			c.sayf("%-24s running, pid %d", name, process.Pid)
		}
	}
	if err := c.ready(ctx); err != nil {
		return fmt.Errorf("%w: %w", errNotReady, err)
	}
	c.sayf("Ready")
	c.sayHow()
	return nil
}

// sayHow prints how to use the control plane that runs.
func (c *controlPlane) sayHow() {
	c.sayf("Use it with: export KUBECONFIG=%s", filepath.Join(c.dir, kubeconfig))
}

// start removes what an earlier start left, starts every part in turn, each once the one before it is ready, and prints how
// long each took. If one does not come up, all are stopped.
func (c *controlPlane) start(ctx context.Context, timeout time.Duration) ([]*child, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c.sayf("Starting a control plane in %s with the binaries of %s", c.dir, c.assets)
	if err := c.clean(); err != nil {
		return nil, err
	}
	at, err := c.prepare()
	if err != nil {
		return nil, err
	}
	var children []*child
	for _, step := range c.steps(at) {
		started, err := c.part(step.name).start(filepath.Join(c.assets, step.name), step.args)
		if err == nil {
			children = append(children, started)
			err = c.await(ctx, children, step.ready)
		}
		if err != nil {
			return nil, errors.Join(err, c.stop())
		}
		c.sayf("%-24s ready after %.1f s", step.name, time.Since(began).Seconds())
	}
	c.sayf("Serving at %s", at.api)
	c.sayHow()
	return children, nil
}

// prepare chooses where the parts listen and writes their keys and the kubeconfigs.
func (c *controlPlane) prepare() (endpoints, error) {
	keys := filepath.Join(c.dir, keysFolder)
	if err := writeKeys(keys); err != nil {
		return endpoints{}, err
	}
	at, err := freeEndpoints()
	if err != nil {
		return endpoints{}, err
	}
	if err := os.WriteFile(filepath.Join(c.dir, serverFile), []byte(at.api), 0o600); err != nil {
		return endpoints{}, fmt.Errorf("recording the server's address: %w", err)
	}
	if err := writeKubeconfig(filepath.Join(c.dir, managerKubeconfig), at.api, keys, managerCert); err != nil {
		return endpoints{}, err
	}
	return at, writeKubeconfig(filepath.Join(c.dir, kubeconfig), at.api, keys, adminCert)
}

// step is one program to start and what tells that it is ready.
type step struct {
	name  string
	args  []string
	ready func(context.Context) error
}

// steps are the programs to start, in order. The controller manager is left out if there is no binary of it.
func (c *controlPlane) steps(at endpoints) []step {
	steps := []step{
		{name: etcd, args: etcdArgs(c.dir, at), ready: c.getter(etcdClientCert, at.etcd, "/health")},
		{name: apiServer, args: apiServerArgs(c.dir, at), ready: c.getter(adminCert, at.api, "/readyz", "/api/v1/namespaces/default")},
	}
	if !c.hasManager() {
		c.sayf("%s has no %s: deleted namespaces will not go, and service accounts will not be made", c.assets, controllerManager)
		return steps
	}
	return append(steps, step{
		name:  controllerManager,
		args:  controllerManagerArgs(c.dir),
		ready: c.getter(adminCert, at.api, "/api/v1/namespaces/default/serviceaccounts/default"),
	})
}

// hasManager tells whether there is a binary of the controller manager.
func (c *controlPlane) hasManager() bool {
	_, err := os.Stat(filepath.Join(c.assets, controllerManager))
	return err == nil
}

// whole tells whether every part that would be started runs.
func (c *controlPlane) whole() bool {
	for _, name := range startOrder {
		if name == controllerManager && !c.hasManager() {
			continue
		}
		if _, err := c.part(name).find(); err != nil {
			return false
		}
	}
	return true
}

// ready returns nil if the API server answers that it is ready.
func (c *controlPlane) ready(ctx context.Context) error {
	server, err := os.ReadFile(filepath.Join(c.dir, serverFile))
	if err != nil {
		return fmt.Errorf("finding the server's address: %w", err)
	}
	return c.getter(adminCert, string(server), "/readyz")(ctx)
}

// await waits until ready returns nil. It fails when ctx ends or a child exits before that.
func (c *controlPlane) await(ctx context.Context, children []*child, ready func(context.Context) error) error {
	newest := children[len(children)-1]
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	ended := firstExit(children)
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case gone := <-ended:
			return exitError(gone)
		case <-ctx.Done():
			return logError(newest.part, fmt.Sprintf("is not ready: %v: %v", context.Cause(ctx), err))
		case <-tick.C:
		}
	}
}

// firstExit returns a channel that receives the first of the children to exit.
func firstExit(children []*child) <-chan *child {
	first := make(chan *child, len(children))
	for _, running := range children {
		go func() {
			<-running.exited
			first <- running
		}()
	}
	return first
}

// exitError says how the child exited.
func exitError(gone *child) error {
	how := "exited"
	if gone.err != nil {
		how = "exited with " + gone.err.Error()
	}
	return logError(gone.part, how)
}

// logError says what happened to the part and shows the end of its log.
func logError(p part, what string) error {
	const lines = 20
	return fmt.Errorf("%s %s; the last lines of %s:\n%s", p.name, what, p.logFile(), p.logTail(lines))
}

// stop stops every part, the last to start first. A part that does not stop does not keep the others from it.
func (c *controlPlane) stop() error {
	grace := c.grace
	if _, err := c.part(etcd).find(); errors.Is(err, errNotRunning) {
		grace = min(grace, time.Second) // an API server whose etcd is gone waits for it in vain
	}
	var errs []error
	for _, name := range slices.Backward(startOrder) {
		ran, err := c.part(name).stop(grace)
		switch {
		case err != nil:
			errs = append(errs, err)
		case ran:
			c.sayf("%-24s stopped", name)
		}
	}
	return errors.Join(errs...)
}

// clean stops what is left of an earlier start and removes its files.
func (c *controlPlane) clean() error {
	if err := c.stop(); err != nil {
		return err
	}
	files := []string{keysFolder, etcdFolder, kubeconfig, managerKubeconfig, serverFile}
	for _, name := range startOrder {
		files = append(files, name+".log")
	}
	for _, file := range files {
		if err := os.RemoveAll(filepath.Join(c.dir, file)); err != nil {
			return fmt.Errorf("removing what an earlier start left: %w", err)
		}
	}
	return nil
}

// resolve follows links in the folder's name, so that each command line finds the processes by the same name.
func (c *controlPlane) resolve() error {
	dir, err := filepath.EvalSymlinks(c.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("following links in %q: %w", c.dir, err)
	}
	c.dir = dir
	return nil
}

// claim makes the folder, or checks that it is empty or was made by an earlier start, and locks it.
func (c *controlPlane) claim(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the control plane's folder: %w", err)
	}
	if err := c.resolve(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return nil, fmt.Errorf("reading the control plane's folder: %w", err)
	}
	ours := slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == marker })
	if len(entries) > 0 && !ours {
		return nil, fmt.Errorf("folder %q holds other files, such as %q: name a new or empty folder", c.dir, entries[0].Name())
	}
	if strings.ContainsAny(c.dir, ",\n") {
		return nil, fmt.Errorf("folder %q has a comma or line break in its name, which the programs' flags cannot carry", c.dir)
	}
	return c.lock(ctx)
}

// lock keeps other commands from starting or stopping processes in the folder.
func (c *controlPlane) lock(ctx context.Context) (unlock func(), err error) {
	file, err := os.OpenFile(filepath.Join(c.dir, marker), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock: %w", err)
	}
	for told := false; ; told = true {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("locking %q: %w", file.Name(), err), file.Close())
		}
		if !told {
			c.sayf("Waiting for another command to finish with %s", c.dir)
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("waiting for lock %q: %w", file.Name(), ctx.Err()), file.Close())
		case <-time.After(pollInterval):
		}
	}
	if _, err := file.WriteAt([]byte(markerText), 0); err != nil {
		return nil, errors.Join(fmt.Errorf("writing %q: %w", file.Name(), err), file.Close())
	}
	return func() { _ = file.Close() }, nil // which unlocks it
}

package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// readyFile says that every part of a node was started.
const readyFile = "ready"

// run is process 1 of a node. It returns only if something fails, and all that was started ends then.
func (n node) run(lifeline bool) error {
	if lifeline {
		watchLifeline()
	}
	if err := n.prepare(); err != nil {
		return err
	}
	if err := n.startParts(); err != nil {
		return err
	}
	if err := os.WriteFile(n.file(readyFile), nil, 0o600); err != nil {
		return fmt.Errorf("saying that the node is ready: %w", err)
	}
	reap()
	return nil
}

// watchLifeline ends the node when its starter ends, however that came.
func watchLifeline() {
	syscall.CloseOnExec(lifeline)
	go func() {
		_, _ = io.Copy(io.Discard, os.NewFile(lifeline, "lifeline"))
		os.Exit(1)
	}()
}

// reap is what process 1 is for: those whose parent is gone are left to it. It comes last, as it takes away the ends of
// programs that somebody else waits for.
func reap() {
	for {
		if _, err := syscall.Wait4(-1, nil, 0, nil); errors.Is(err, syscall.ECHILD) {
			return
		}
	}
}

// prepare gives the node its mounts, network and files.
func (n node) prepare() error {
	if err := syscall.Sethostname([]byte(NodeName(n.number))); err != nil {
		return fmt.Errorf("setting the host name: %w", err)
	}
	if err := mountAll(); err != nil {
		return err
	}
	for path, text := range n.files() {
		if err := writeFile(path, text); err != nil {
			return err
		}
	}
	return n.connect()
}

// connect makes the node's network. The end of a cable may still have to come from node 1.
func (n node) connect() error {
	if n.number > 1 {
		err := retry(time.Minute, func() error { return command("ip", "link", "show", "eth0") })
		if err != nil {
			return fmt.Errorf("waiting for the cable from %s: %w", NodeName(1), err)
		}
	}
	for _, step := range networkSteps(n.number, n.of) {
		if err := command("ip", step...); err != nil {
			return err
		}
	}
	return writeSetting("/proc/sys/net/ipv4/ip_forward", "1")
}

// startParts starts the parts in their order. Images are there before a pod may want one.
func (n node) startParts() error {
	if err := n.start(n.containerd()); err != nil {
		return err
	}
	var later []part
	if n.hasControlPlane() {
		var first []part
		first, later = n.controlPlane()
		if err := n.startAll(first); err != nil {
			return err
		}
	}
	if err := n.importImages(); err != nil {
		return err
	}
	if err := n.awaitServer(); err != nil {
		return err
	}
	if err := n.startAll(slices.Concat(later, n.workers())); err != nil || !n.enforcesPolicies() {
		return err
	}
	if err := n.awaitRegistration(); err != nil {
		return err
	}
	return n.start(n.policies())
}

// awaitRegistration waits until kubelet has registered the node: kube-router ends at once without
// that.
func (n node) awaitRegistration() error {
	name := NodeName(n.number)
	return retry(2*time.Minute, func() error {
		return command(filepath.Join(n.programs, "kubectl"), "--kubeconfig="+n.config("kubelet-"+name), "--cache-dir="+n.file("kubectl-cache"), "get", "node", name)
	})
}

func (n node) enforcesPolicies() bool {
	_, err := os.Stat(filepath.Join(n.programs, policyProgram))
	return err == nil
}

func (n node) startAll(parts []part) error {
	for _, p := range parts {
		if err := n.start(p); err != nil {
			return err
		}
	}
	return nil
}

// start starts a part, which nobody waits for but reap.
func (n node) start(p part) error {
	program, err := n.find(p.name)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(n.log(p.name), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("making the log of %s: %w", p.name, err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(program, p.args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", p.name, err)
	}
	return nil
}

// find returns a program that was built, or one of the machine.
func (n node) find(name string) (string, error) {
	if built := filepath.Join(n.programs, name); name != "containerd" {
		return built, nil
	}
	return programPath(name)
}

// importImages gives containerd the images of the cluster's folder.
func (n node) importImages() error {
	archives, err := filepath.Glob(filepath.Join(n.site, imagesFolder, "*.tar"))
	if err != nil {
		return err
	}
	if err := retry(time.Minute, func() error { return command("ctr", "version") }); err != nil {
		return fmt.Errorf("containerd does not answer: %w", err)
	}
	for _, archive := range archives {
		if err := command("ctr", "--namespace=k8s.io", "images", "import", archive); err != nil {
			return err
		}
	}
	return nil
}

// awaitServer waits for the API server, which everybody may ask whether it is ready.
func (n node) awaitServer() error {
	ca, err := os.ReadFile(n.key("ca.crt"))
	if err != nil {
		return fmt.Errorf("reading the authority's certificate: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	defer client.CloseIdleConnections()
	return retry(2*time.Minute, func() error { return isReady(client, Server+"/readyz") })
}

func isReady(client *http.Client, url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("the API server does not answer: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the API server is not ready: %s", answer.Status)
	}
	return nil
}

// command runs a program of the machine to its end.
func command(name string, args ...string) error {
	program, err := programPath(name)
	if err != nil {
		return err
	}
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

func writeFile(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return fmt.Errorf("writing a file: %w", err)
	}
	return nil
}

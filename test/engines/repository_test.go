package engines

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/cgi" //nolint:gosec // its fault was mended in Go 1.6.3
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pnp-operator/pnp-operator/test/harness"
)

// gitFolder has the bare repositories that the Git server shows.
const gitFolder = "git"

// serveGit shows the repositories of gitFolder on loopback until ctx ends, by git's own program.
func (g *gitops) serveGit(ctx context.Context) error {
	path, err := harness.NewCommand(ctx, "git", "--exec-path").Output()
	if err := harness.CauseOf(ctx, err); err != nil {
		return fmt.Errorf("finding git: %w", err)
	}
	at, err := loopback(1)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", at[0])
	if err != nil {
		return err
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"), Root: "/",
		Env:        []string{"GIT_PROJECT_ROOT=" + g.File(gitFolder), "GIT_HTTP_EXPORT_ALL=1"},
		InheritEnv: []string{"PATH"},
	}}
	go func() { _ = server.Serve(listener) }() // ended by Close
	context.AfterFunc(ctx, func() { _ = server.Close() })
	g.git = "http://" + at[0]
	g.Out.Sayf("Git is served at %s", g.git)
	return os.MkdirAll(g.File(gitFolder), 0o700)
}

// repository is a Git repository: files to edit, and the bare one that the server shows.
type repository struct{ files, bare, url string }

// commit is a commit that was pushed.
type commit struct {
	sha string
	at  time.Time
}

// newRepository makes a repository without a commit.
func (g *gitops) newRepository(ctx context.Context, name string) (repository, error) {
	r := repository{files: g.File("fleets/" + name), bare: g.File(gitFolder + "/" + name + ".git"), url: g.git + "/" + name + ".git"}
	if err := os.MkdirAll(r.files, 0o700); err != nil {
		return r, err
	}
	_, err1 := r.run(ctx, "init", "--quiet", "--bare", "--initial-branch=main", r.bare)
	_, err2 := r.run(ctx, "init", "--quiet", "--initial-branch=main", r.files)
	return r, errors.Join(err1, err2)
}

// commit commits all files as they are and pushes them.
func (r repository) commit(ctx context.Context, message string) (commit, error) {
	for _, args := range [][]string{
		{"add", "--all"}, {"commit", "--quiet", "--message", message}, {"push", "--quiet", r.bare, "main"},
	} {
		if _, err := r.run(ctx, args...); err != nil {
			return commit{}, err
		}
	}
	return r.head(ctx)
}

// head is the newest commit.
func (r repository) head(ctx context.Context) (commit, error) {
	sha, err := r.run(ctx, "rev-parse", "HEAD")
	return commit{sha: strings.TrimSpace(sha), at: time.Now()}, err
}

// run runs git without what the user's own settings would change.
func (r repository) run(ctx context.Context, args ...string) (string, error) {
	cmd := harness.NewCommand(ctx, "git", args...)
	cmd.Dir = r.files
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=fleet", "GIT_AUTHOR_EMAIL=fleet@example.com", "GIT_COMMITTER_NAME=fleet", "GIT_COMMITTER_EMAIL=fleet@example.com")
	out, err := cmd.CombinedOutput()
	if err := harness.CauseOf(ctx, err); err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// file is the path of a file of the repository.
func (r repository) file(name string) string { return filepath.Join(r.files, filepath.FromSlash(name)) }

// write makes or overwrites a file.
func (r repository) write(name, content string) error {
	if err := os.MkdirAll(filepath.Dir(r.file(name)), 0o700); err != nil {
		return err
	}
	return os.WriteFile(r.file(name), []byte(content), 0o600)
}

func (r repository) read(name string) (string, error) {
	data, err := os.ReadFile(r.file(name))
	return string(data), err
}

// replace changes the one place of a file where a text is.
func (r repository) replace(name, was, is string) error {
	content, err := r.read(name)
	if err != nil {
		return err
	}
	if n := strings.Count(content, was); n != 1 {
		return fmt.Errorf("%s has %d times %q, want once", name, n, was)
	}
	return r.write(name, strings.Replace(content, was, is, 1))
}

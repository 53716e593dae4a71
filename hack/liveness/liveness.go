// Package liveness tells when a process that was ended holds nothing any more. It needs Linux.
//
// The command controlplane, which is a module of its own, has a copy of this file: a test there
// compares the two.
package liveness

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

// HasEnded reports whether the process that had a pid holds nothing any more, its ports least of all.
// One that is ending has no command line before it has closed its files. is reports whether a pid is
// still that process, by its command line: pids are given to others.
func HasEnded(pid int, is func(pid int) bool) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil || isDefunct(stat, len(threads)) {
		return true
	}
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err != nil || len(cmdline) > 0 && !is(pid)
}

// isDefunct reports whether nobody but its parent knows of a process any more. Its state follows its
// name, which is in parentheses. The first thread may be gone before others.
func isDefunct(stat []byte, threads int) bool {
	_, after, _ := strings.Cut(string(stat[max(0, bytes.LastIndexByte(stat, ')')):]), ") ")
	return threads <= 1 && (strings.HasPrefix(after, "Z") || strings.HasPrefix(after, "X"))
}

// Package node runs the Node programs of this project, and installs their packages once.
package node

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Install are the words of the command that installs the packages of a folder as its lock file wants
// them, to be run there.
var Install = []string{"npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"}

// Missing says what is not there of the programs that run them, nil if all are.
func Missing() error {
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is missing: install Node.js 20 or later with npm (Debian packages nodejs and npm)", program)
		}
	}
	return nil
}

// IsInstalled reports whether a folder has its packages as the lock file wants them.
func IsInstalled(folder string) (bool, error) {
	want, err := os.Stat(filepath.Join(folder, "package-lock.json"))
	if err != nil {
		return false, err
	}
	have, err := os.Stat(filepath.Join(folder, "node_modules", ".package-lock.json"))
	return err == nil && !have.ModTime().Before(want.ModTime()), nil
}

package liveness

import "testing"

func TestAProcessHoldsItsPortsUntilItIsDefunct(t *testing.T) {
	for name, c := range map[string]struct {
		stat    string
		threads int
		want    bool
	}{
		"it runs":                            {"7 (kube-apiserver) S 1 7", 12, false},
		"it is ending":                       {"7 (kube-apiserver) R 1 7", 1, false},
		"its first thread has ended":         {"7 (kube-apiserver) Z 1 7", 3, false},
		"all have":                           {"7 (kube-apiserver) Z 1 7", 1, true},
		"its name looks like a state":        {"7 (a) Z 1) S 1 7", 1, false},
		"a file that was cut is no evidence": {"7 (kube-api", 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := isDefunct([]byte(c.stat), c.threads); got != c.want {
				t.Errorf("isDefunct(%q, %d) = %t", c.stat, c.threads, got)
			}
		})
	}
}

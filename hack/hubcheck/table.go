package main

import (
	"fmt"
	"strings"
)

// progress is a line a fact, as it is played.
func progress(r row) string { return fmt.Sprintf("  %-10s %s\n", r.verdict, r.id) }

// table shows every fact: what was expected, what was seen, and whether they agree.
func table(rows []row) string {
	lines := [][4]string{{"FACT", "EXPECTED", "SEEN", "AGREES"}}
	for _, r := range rows {
		lines = append(lines, [4]string{r.id, r.expected, r.seen, string(r.verdict)})
	}
	var width [3]int
	for _, l := range lines {
		for i := range width {
			width[i] = max(width[i], len([]rune(l[i])))
		}
	}
	width[1], width[2] = min(width[1], widest), min(width[2], widest)
	var b strings.Builder
	for i, l := range lines {
		_, _ = fmt.Fprintf(&b, "%-*s  %-*s  %-*s  %s\n", width[0], l[0], width[1], l[1], width[2], l[2], l[3])
		if i > 0 {
			_, _ = fmt.Fprintf(&b, "    %s\n", rows[i-1].about())
		}
	}
	return b.String()
}

// about is the fact in words, with what was measured.
func (r row) about() string {
	if r.remark == "" {
		return r.fact
	}
	return r.fact + " (" + r.remark + ")"
}

// widest is a column; a longer text shifts what follows it.
const widest = 60

// summary counts, and says what the hub will bill.
func summary(rows []row, m *meter) string {
	count := map[verdict]int{}
	for _, r := range rows {
		count[r.verdict]++
	}
	small, large := m.messages()
	return fmt.Sprintf("\n%d agree, %d differ, %d failed, %d were not played\n"+
		"messages: about %d of the hub's day on the free tier (blocks of 0.5 KB), %d on any other (4 KB)\n",
		count[agrees], count[differs], count[failed], count[notPlayed], small, large)
}

// exitCode tells a difference from facts that could not be played for something that went wrong.
func exitCode(rows []row) int {
	code := allAgree
	for _, r := range rows {
		switch r.verdict {
		case differs:
			return someDiffer
		case failed:
			code = couldNotRun
		}
	}
	return code
}

// hider keeps secrets out of what is printed.
type hider struct{ secrets []string }

func (h *hider) add(secrets ...string) {
	for _, s := range secrets {
		if s != "" {
			h.secrets = append(h.secrets, s)
		}
	}
}

func (h *hider) hide(text string) string {
	for _, s := range h.secrets {
		text = strings.ReplaceAll(text, s, "(hidden)")
	}
	return text
}

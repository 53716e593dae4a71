package controllers

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

func TestTriesAreAsFarApartAsACauseHasLasted(t *testing.T) {
	row := &waitRow{first: time.Second, most: 30 * time.Second, each: 2 * time.Second}
	for name, c := range map[string]struct {
		row    *waitRow
		many   int
		lasted time.Duration
		want   time.Duration
	}{
		"at first":                   {row, 1, 0, 2 * time.Second},
		"after a while":              {row, 1, 12 * time.Second, 12 * time.Second},
		"for ever":                   {row, 1, time.Hour, 30 * time.Second},
		"of many at one hub":         {row, 1000, time.Hour, 2000 * time.Second},
		"with a clock that was set":  {row, 0, -time.Hour, time.Second},
		"with a row of one length":   {&waitRow{most: time.Minute}, 1, time.Hour, time.Minute},
		"nothing counts at the hubs": {&waitRow{first: time.Second, most: time.Minute}, 1000, time.Second, time.Second},
	} {
		if got := c.row.among(c.many, c.lasted); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// The page has a table with a line for each row, in their order.
func TestPageShowsTheRegisterOfWaits(t *testing.T) {
	page, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	want.WriteString("| object | waits for the end of | ended by | and else asks |\n| --- | --- | --- | --- |\n")
	for _, w := range waits {
		fmt.Fprintf(&want, "| %s | %s | %s | %s |\n", w.kind, w.cause, w.event, w.asks())
	}
	if !strings.Contains(string(page), "\n## What heals by itself, and how fast\n") || !strings.Contains(string(page), want.String()) {
		t.Errorf("docs/operations.md has not this table in its section What heals by itself, and how fast:\n%s", want.String())
	}
}

// asks says in words when an object asks by itself.
func (w *waitRow) asks() string {
	text := "every " + spoken(w.most)
	if w.first > 0 {
		text = fmt.Sprintf("after %s, then as long as it has lasted, %s at most", spoken(w.first), spoken(w.most))
	}
	if w.each > 0 {
		text += fmt.Sprintf("; with many at one hub, %s for each", spoken(w.each))
	}
	return text
}

func spoken(d time.Duration) string {
	switch {
	case d >= time.Minute:
		return fmt.Sprintf("%g min", d.Minutes())
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%g s", d.Seconds())
}

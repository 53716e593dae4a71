package main

import (
	"fmt"
	"strings"
	"sync"
)

const (
	// mostMessages is what a run takes at most, counted in the small blocks of the free tier.
	mostMessages = 499
	// reserve is what the answers to one call may take: no call begins without it.
	reserve = 49

	smallBlock = 512  // of the free tier
	largeBlock = 4096 // of all others
)

// meter counts the messages that a hub bills, and stops before there are too many. It is safe for concurrent use.
type meter struct {
	mu           sync.Mutex
	small, large int
}

// spend counts what is billed as one piece.
func (m *meter) spend(bytes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.small += blocks(bytes, smallBlock)
	m.large += blocks(bytes, largeBlock)
}

// room reports whether a request of a size may still be made.
func (m *meter) room(bytes int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.small+blocks(bytes, smallBlock) > mostMessages-reserve {
		return skipf("would take more than %d messages in all", mostMessages)
	}
	return nil
}

func (m *meter) messages() (small, large int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.small, m.large
}

func (m *meter) String() string { return fmt.Sprint(m.messages()) }

func blocks(bytes, size int) int { return max(1, (bytes+size-1)/size) }

// billed says which sides of a call are messages: "Azure IoT Hub pricing information" bills writes by what is written, reads and queries by
// what is read, direct methods by both, and the registry and configurations by neither.
func billed(method, path string) (request, answer bool) {
	switch {
	case strings.HasSuffix(path, "/methods") || strings.Contains(path, "/commands/"):
		return true, true
	case path == "/devices/query":
		return false, true
	case strings.HasPrefix(path, "/twins/") || strings.HasPrefix(path, "/digitaltwins/"):
		return method != "GET", method == "GET"
	}
	return false, false
}

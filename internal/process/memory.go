package process

import "strconv"

// memoryShare is how much of the container's memory, in percent, Go keeps to: the rest is for what it does not count, and for the time that collecting takes.
const memoryShare = 85

// LimitMemory has memory collected more often as the limit of the container comes near, which the
// Deployment tells in bytes by MEMORY_LIMIT. Otherwise the heap may double between two collections,
// and the limit is passed with memory that nobody needs. GOMEMLIMIT, if it is set, has been obeyed
// by Go already.
func LimitMemory(getenv func(string) string, set func(int64) int64) {
	limit, err := strconv.ParseInt(getenv("MEMORY_LIMIT"), 10, 64)
	if err != nil || limit <= 0 || getenv("GOMEMLIMIT") != "" {
		return
	}
	set(limit / 100 * memoryShare)
}

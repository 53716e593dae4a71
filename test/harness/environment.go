package harness

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

// NumberFromEnvironment reads a variable whose value is a number above 0, or takes another number
// where it is empty.
func NumberFromEnvironment(name string, into *int, otherwise int) error {
	*into = otherwise
	text := os.Getenv(name)
	if text == "" {
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return fmt.Errorf("%s is %q, expected a number above 0", name, text)
	}
	*into = n
	return nil
}

// DurationFromEnvironment is NumberFromEnvironment for a duration of a second or more, such as 60s.
func DurationFromEnvironment(name string, otherwise time.Duration) (time.Duration, error) {
	text := os.Getenv(name)
	if text == "" {
		return otherwise, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second {
		return 0, fmt.Errorf("%s is %q, expected a duration of a second or more, such as 60s", name, text)
	}
	return d, nil
}

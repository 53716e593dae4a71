package process

import "testing"

func TestLimitMemory(t *testing.T) {
	for name, c := range map[string]struct {
		environment map[string]string
		want        int64
	}{
		"the container's limit":    {map[string]string{"MEMORY_LIMIT": "536870912"}, 456340265},
		"none":                     {nil, 0},
		"what is no number":        {map[string]string{"MEMORY_LIMIT": "512Mi"}, 0},
		"nothing":                  {map[string]string{"MEMORY_LIMIT": "0"}, 0},
		"an administrator's limit": {map[string]string{"MEMORY_LIMIT": "536870912", "GOMEMLIMIT": "400MiB"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var got int64
			LimitMemory(func(name string) string { return c.environment[name] }, func(limit int64) int64 { got = limit; return 0 })
			if got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}

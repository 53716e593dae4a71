package models

// sizedCache keeps values within a number of bytes. It is for values that can be made again: when
// they are too much, the largest go first, so that a few large ones do not displace many small ones.
type sizedCache[K comparable, V any] struct {
	most, total int
	entries     map[K]sizedEntry[V]
}

type sizedEntry[V any] struct {
	value V
	size  int
}

func newSizedCache[K comparable, V any](most int) sizedCache[K, V] {
	return sizedCache[K, V]{most: most, entries: map[K]sizedEntry[V]{}}
}

func (c *sizedCache[K, V]) get(key K) (V, bool) {
	e, ok := c.entries[key]
	return e.value, ok
}

// put keeps a value of size bytes. It stays at least until the next one comes.
func (c *sizedCache[K, V]) put(key K, value V, size int) {
	c.remove(key)
	c.entries[key] = sizedEntry[V]{value, size}
	c.total += size
	for c.total > c.most && len(c.entries) > 1 {
		c.remove(c.largest(key))
	}
}

func (c *sizedCache[K, V]) remove(key K) {
	c.total -= c.entries[key].size
	delete(c.entries, key)
}

func (c *sizedCache[K, V]) largest(except K) (key K) {
	size := -1
	for k, e := range c.entries {
		if k != except && e.size > size {
			key, size = k, e.size
		}
	}
	return key
}

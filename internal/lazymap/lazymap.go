// Package lazymap writes into maps that are made when they are needed, so that the zero value of
// what has them is ready to use.
package lazymap

// Put makes the map if there is none.
func Put[K comparable, V any](m *map[K]V, k K, v V) {
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[k] = v
}

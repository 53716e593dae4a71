// Package cachedtest has fake clients of tests make the look-ups of the cache.
package cachedtest

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/pnp-operator/pnp-operator/controllers/cached"
)

// indexed is a client.FieldIndexer of a fake client.
type indexed struct{ *fake.ClientBuilder }

func (b indexed) IndexField(_ context.Context, o client.Object, field string, extract client.IndexerFunc) error {
	b.WithIndex(o, field, extract)
	return nil
}

// NewClientBuilder returns the builder of a fake client with the indexes of the cache.
func NewClientBuilder(scheme *runtime.Scheme) *fake.ClientBuilder {
	b := fake.NewClientBuilder().WithScheme(scheme)
	if err := cached.Index(context.Background(), indexed{b}); err != nil {
		panic(err) // it only adds to the builder
	}
	return b
}

package webhooks

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// certFiles keeps the certificate of the Secret in files, where the webhook server and the rotator look for it. A volume would do the same, a minute
// later and in pods only.
type certFiles struct {
	key     types.NamespacedName
	dir     string
	client  client.Client
	secrets cache.Cache // of the one Secret
	once    sync.Once

	written chan struct{} // closed once there is a certificate in the files
	first   sync.Once
}

func newCertFiles(mgr manager.Manager, key types.NamespacedName, dir string) (*certFiles, error) {
	secrets, err := cache.New(mgr.GetConfig(), cache.Options{
		Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}: {Namespaces: map[string]cache.Config{key.Namespace: {FieldSelector: fields.OneTermEqualSelector("metadata.name", key.Name)}}},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("watching the Secret of the webhook's certificate: %w", err)
	}
	return &certFiles{key: key, dir: dir, client: mgr.GetClient(), secrets: secrets, written: make(chan struct{})}, nil
}

// make creates the Secret if there is none, and has its content written to files from now on.
func (f *certFiles) make(ctx context.Context) error {
	if err := f.create(ctx); err != nil {
		return err
	}
	f.once.Do(func() { go func() { _ = f.secrets.Start(ctx) }() }) // it ends with ctx only
	informer, err := f.secrets.GetInformer(ctx, &corev1.Secret{})
	if err != nil {
		return err
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { f.write(ctx, o.(*corev1.Secret)) },
		UpdateFunc: func(_, o any) { f.write(ctx, o.(*corev1.Secret)) },
		DeleteFunc: func(any) { // by someone
			if err := f.create(ctx); err != nil {
				logOf(ctx).Error(err, "Could not make the Secret of the webhook's certificate again")
			}
		},
	})
	return err
}

// create makes the Secret, empty, if there is none; the rotator fills it.
func (f *certFiles) create(ctx context.Context) error {
	empty := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: f.key.Namespace, Name: f.key.Name}}
	if err := f.client.Create(ctx, empty); !apierrors.IsAlreadyExists(err) {
		return err
	}
	return nil
}

func (f *certFiles) write(ctx context.Context, secret *corev1.Secret) {
	cert, key := secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey]
	if len(cert) == 0 || len(key) == 0 {
		return
	}
	// The server takes the pair only when both fit: in between it goes on with the one before.
	if err := errors.Join(f.replace(corev1.TLSPrivateKeyKey, key), f.replace(corev1.TLSCertKey, cert)); err != nil {
		logOf(ctx).Error(err, "Could not write the webhook's certificate to its files")
		return
	}
	f.first.Do(func() { close(f.written) })
}

// replace writes a file in one step, so that nobody reads half of it.
func (f *certFiles) replace(name string, data []byte) error {
	temporary := filepath.Join(f.dir, "."+name)
	if err := os.WriteFile(temporary, data, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, filepath.Join(f.dir, name))
}

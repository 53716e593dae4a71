package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/eventstream"
)

// The rights on ConfigMaps hold in the operator's own namespace only.
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get;list;create;update;delete,namespace=pnp-system

const (
	checkpointKey        = "checkpoint.json"
	checkpointLabel      = "iot.pnp-operator.io/checkpoint"
	checkpointAnnotation = "iot.pnp-operator.io/iothub" // namespace/name of the IoTHub
)

// checkpoints keeps the places in event streams in ConfigMaps of the operator's own namespace, so that it needs no right
// to write ConfigMaps anywhere else. They bear the IoTHub's UID: an object that was created anew starts anew.
type checkpoints struct {
	client.Client
	// reader reads ConfigMaps without a cache: nothing of them is kept or watched.
	reader    client.Reader
	namespace string
}

func checkpointName(uid types.UID) string { return "checkpoint-" + string(uid) }

// of is the store of one IoTHub.
func (c *checkpoints) of(hub *v1alpha1.IoTHub) eventstream.Store {
	return &checkpointStore{checkpoints: c, uid: hub.UID, owner: client.ObjectKeyFromObject(hub)}
}

// checkpointStore is one ConfigMap. It is used by one stream at a time.
type checkpointStore struct {
	*checkpoints

	uid   types.UID
	owner types.NamespacedName
	// resourceVersion of the last Load or Save, empty if there is no ConfigMap: whoever wrote since wins.
	resourceVersion string
}

// Load reads the checkpoint. One that cannot be read is as good as none: devices are read instead.
func (s *checkpointStore) Load(ctx context.Context) (*eventstream.Checkpoint, error) {
	var m corev1.ConfigMap
	err := s.reader.Get(ctx, types.NamespacedName{Namespace: s.namespace, Name: checkpointName(s.uid)}, &m)
	if apierrors.IsNotFound(err) {
		s.resourceVersion = ""
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s.resourceVersion = m.ResourceVersion
	var c eventstream.Checkpoint
	if err := json.Unmarshal([]byte(m.Data[checkpointKey]), &c); err != nil {
		log.FromContext(ctx).Info("Checkpoint cannot be decoded, reading devices instead", "configMap", m.Name, "error", err.Error())
		return nil, nil
	}
	return &c, nil
}

// Save writes the checkpoint over the one that was loaded or saved last.
func (s *checkpointStore) Save(ctx context.Context, c *eventstream.Checkpoint) error {
	raw, err := json.Marshal(c)
	if err != nil {
		return err
	}
	m := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: s.namespace, Name: checkpointName(s.uid), ResourceVersion: s.resourceVersion,
			Labels:      map[string]string{checkpointLabel: "true", "app.kubernetes.io/managed-by": "pnp-operator"},
			Annotations: map[string]string{checkpointAnnotation: s.owner.String()},
		},
		Data: map[string]string{checkpointKey: string(raw)},
	}
	if s.resourceVersion != "" {
		err = s.Update(ctx, m)
	}
	if s.resourceVersion == "" || apierrors.IsNotFound(err) { // somebody may have deleted it: that loses nothing
		m.ResourceVersion = ""
		err = s.Create(ctx, m)
	}
	if err != nil {
		return err
	}
	s.resourceVersion = m.ResourceVersion
	return nil
}

// sweep deletes the checkpoints of IoTHubs that are gone. One whose IoTHub cannot be looked up is kept.
func (c *checkpoints) sweep(ctx context.Context) error {
	list := metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMapList"))
	if err := c.reader.List(ctx, &list, client.InNamespace(c.namespace), client.HasLabels{checkpointLabel}); err != nil {
		return fmt.Errorf("listing checkpoints: %w", err)
	}
	for i := range list.Items {
		is := &list.Items[i].ObjectMeta
		if !c.isOrphan(ctx, is) {
			continue
		}
		m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: is.Namespace, Name: is.Name}}
		if err := c.Delete(ctx, m, client.Preconditions{UID: &is.UID}); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting checkpoint %q: %w", m.Name, err)
		}
	}
	return nil
}

// isOrphan asks the API server only for an IoTHub that the cache does not have: it may lag behind
// another leader. The checkpoints of all others cost nothing, however many there are.
func (c *checkpoints) isOrphan(ctx context.Context, m *metav1.ObjectMeta) bool {
	namespace, name, ok := strings.Cut(m.Annotations[checkpointAnnotation], string(types.Separator))
	if !ok {
		return false
	}
	key := types.NamespacedName{Namespace: namespace, Name: name}
	return isGone(ctx, c.Client, key, m.Name) && isGone(ctx, c.reader, key, m.Name)
}

// isGone reports whether the IoTHub of a checkpoint is known to be gone, or to be another one.
func isGone(ctx context.Context, from client.Reader, key types.NamespacedName, checkpoint string) bool {
	var hub v1alpha1.IoTHub
	err := from.Get(ctx, key, &hub)
	return apierrors.IsNotFound(err) || err == nil && checkpointName(hub.UID) != checkpoint
}

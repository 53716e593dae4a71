package models

import (
	"fmt"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// Should a model ever end the operator all the same, it would do so again after every start. So
// status says of a large one that it is about to be parsed, before it is. An operator that finds that
// and did not write it tries once more, as the one before it may just have been stopped, and says
// that, too; the next one that finds it leaves the model alone. Small models cost no write: ended
// operators are not theirs.

// contentOf names the documents of a large model by their content. It is empty for any other.
func contentOf(documents [][]byte) string {
	if sizeOf(documents) <= largeModel {
		return ""
	}
	return keyOfContent("", len(documents), documents).String()
}

// again is what status.parsing says of the second try. It is as long as the content.
func again(content string) string {
	const mark = ".2"
	return content[:len(content)-len(mark)] + mark
}

// guard says why a large model must not be parsed now, nil if it may be. With load it writes into
// status that it is about to be, which has to be stored before the next try.
func (l *Library) guard(uid types.UID, status *v1alpha1.DeviceModelStatus, content string, load bool) *Trouble {
	if !l.Guarded || content == "" || status.Parsed == content {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	isAgain := status.Parsing == again(content)
	switch {
	case (isAgain || status.Parsing == content) && l.begun[uid] == status.Parsing:
		return nil
	case isAgain && (load || isSetAside(status)):
		return setAside()
	case !load:
		return &Trouble{Reason: v1alpha1.ReasonProgressing, Message: largeText()}
	}
	begins := content
	if status.Parsing == content {
		begins = again(content)
	}
	l.begun[uid], status.Parsing = begins, begins
	return &Trouble{Reason: v1alpha1.ReasonProgressing, Message: largeText(), Soon: true}
}

func isSetAside(status *v1alpha1.DeviceModelStatus) bool {
	ready := apimeta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.Reason == v1alpha1.ReasonSetAside
}

func largeText() string {
	return fmt.Sprintf("The model has more than %d bytes of JSON, and is parsed once that is on record", largeModel)
}

func setAside() *Trouble {
	return &Trouble{Reason: v1alpha1.ReasonSetAside, Final: true,
		Message: "The operator ended twice while it parsed this model, which it therefore leaves alone. Edit the model, or have it tried once more by the annotation " +
			v1alpha1.AnnotationReconcileRequestedAt}
}

// passed writes into status which large model did not end the operator.
func (l *Library) passed(uid types.UID, status *v1alpha1.DeviceModelStatus, content string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.begun, uid)
	status.Parsing, status.Parsed = "", ""
	if l.Guarded {
		status.Parsed = content
	}
}

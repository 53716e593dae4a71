package models

import (
	"fmt"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// Should a model ever end the operator all the same, it would do so again after every start. So
// status says of a large one that it is about to be parsed, before it is, and who finds that and
// did not write it leaves the model alone. Small models cost no write: ended operators are not
// theirs.

// contentOf names the documents of a large model by their content. It is empty for any other.
func contentOf(documents [][]byte) string {
	if sizeOf(documents) <= largeModel {
		return ""
	}
	return keyOfContent("", len(documents), documents).String()
}

// guard says why a large model must not be parsed now, nil if it may be. With load it writes into
// status that it is about to be, which has to be stored before the next try.
func (l *Library) guard(status *v1alpha1.DeviceModelStatus, content string, load bool) *Trouble {
	if !l.Guarded || content == "" || status.Parsed == content {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case status.Parsing == content && l.begun[content]:
		return nil
	case status.Parsing == content:
		return setAside()
	case load:
		l.begun[content], status.Parsing = true, content
		return &Trouble{Reason: v1alpha1.ReasonProgressing, Message: largeText(), Soon: true}
	}
	return &Trouble{Reason: v1alpha1.ReasonProgressing, Message: largeText()}
}

func largeText() string {
	return fmt.Sprintf("The model has more than %d bytes of JSON, and is parsed once that is on record", largeModel)
}

func setAside() *Trouble {
	return &Trouble{Reason: v1alpha1.ReasonSetAside, Final: true,
		Message: "The operator ended while it parsed this model, which it therefore leaves alone. Edit the model, or have it tried once more by the annotation " +
			v1alpha1.AnnotationReconcileRequestedAt}
}

// passed writes into status which large model did not end the operator.
func (l *Library) passed(status *v1alpha1.DeviceModelStatus, content string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.begun, status.Parsing)
	status.Parsing, status.Parsed = "", ""
	if l.Guarded {
		status.Parsed = content
	}
}

package models

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/dtdl"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// Shelf finds DeviceModels of a namespace, the oldest first. They are not changed.
type Shelf interface {
	// ByModelID finds those for devices of a model.
	ByModelID(ctx context.Context, namespace, modelID string) ([]*v1alpha1.DeviceModel, error)
	// ByInterface finds those that bring an interface along.
	ByInterface(ctx context.Context, namespace, dtmi string) ([]*v1alpha1.DeviceModel, error)
}

// maxParsed bounds what is parsed for one model: parsing takes some fifty times as much memory, and the operator has half a gigabyte.
const maxParsed = 3 << 20

// Library knows the models of DeviceModels. It compiles each once, and anew when it changes or something that it needs does.
type Library struct {
	Shelf        Shelf
	Repositories *Repositories

	mu       sync.Mutex
	compiled map[types.UID]*compiled
}

// Trouble is why a DeviceModel cannot be used.
type Trouble struct {
	Reason, Message string
	// Final is true if only an edit helps.
	Final bool
}

// Model is a DeviceModel that was compiled.
type Model struct {
	// Digest of its own interfaces.
	Digest string
	// Device is what a device of the model has.
	Device *dtdl.Interface
}

// compiled is the outcome of compiling, and what it was made of: as long as that is the same, so is the outcome.
type compiled struct {
	from    []ingredient
	model   *Model
	trouble *Trouble
}

// ingredient is a DeviceModel that went into another one's model. One that was looked for and is not there has no UID.
type ingredient struct {
	dtmi       string // that it was looked for, empty for the DeviceModel itself
	uid        types.UID
	generation int64
	serial     uint64 // of what was fetched
}

// NewLibrary returns one without anything compiled.
func NewLibrary(shelf Shelf, repositories *Repositories) *Library {
	return &Library{Shelf: shelf, Repositories: repositories, compiled: map[types.UID]*compiled{}}
}

// CheckDevice checks what a PnPDevice of a model declares.
func (l *Library) CheckDevice(ctx context.Context, namespace, modelID string, declared twin.Declaration) (Verdict, error) {
	return l.check(ctx, namespace, modelID, func(device *dtdl.Interface) []string { return checkDeclaration(device, declared) })
}

// CheckCommand checks a command for a device of a model.
func (l *Library) CheckCommand(ctx context.Context, namespace, modelID string, command *v1alpha1.DeviceCommandSpec) (Verdict, error) {
	return l.check(ctx, namespace, modelID, func(device *dtdl.Interface) []string { return checkCommand(device, command) })
}

func (l *Library) check(ctx context.Context, namespace, modelID string, violations func(*dtdl.Interface) []string) (Verdict, error) {
	if modelID == "" {
		return Verdict{}, nil
	}
	found, err := l.Shelf.ByModelID(ctx, namespace, modelID)
	if err != nil || len(found) == 0 {
		return Verdict{Of: modelID}, err
	}
	verdict := Verdict{Model: found[0].Name, Of: fmt.Sprintf("%s %s/%d", modelID, found[0].UID, found[0].Generation), Warn: found[0].Spec.Validation == v1alpha1.ValidationWarn}
	model, trouble, err := l.compile(ctx, found[0], false)
	switch {
	case err != nil:
		return Verdict{}, err
	case trouble != nil:
		verdict.NotReady = trouble.Message
	default:
		verdict.Violations = violations(model.Device)
	}
	return verdict, nil
}

// CheckModel lists what is wrong with a DeviceModel, and what it still needs. A repository is not asked.
func (l *Library) CheckModel(object *v1alpha1.DeviceModel) (violations, warnings []string) {
	id, trouble := idOf(object)
	if trouble != nil {
		return []string{trouble.Message}, nil
	}
	if object.Spec.Repository != nil {
		if _, trouble := l.Repositories.root(object.Spec.Repository.URL); trouble != nil {
			return []string{trouble.Message}, nil
		}
		return nil, nil
	}
	parsed := dtdl.Parse(object.Spec.DTDL.Raw)
	for _, e := range parsed.Errors {
		violations = append(violations, "spec.dtdl"+e.Path+": "+e.Error())
	}
	if !parsed.Defines(id) && len(violations) == 0 {
		violations = append(violations, undefined(id))
	}
	for _, missing := range parsed.Missing {
		warnings = append(warnings, fmt.Sprintf("spec.dtdl%s: needs %s, which has to be in another DeviceModel of the namespace", missing.Path, missing.DTMI))
	}
	return bounded(violations), bounded(warnings)
}

func undefined(id string) string {
	return fmt.Sprintf("spec.modelID is %s, want an interface that spec.dtdl defines", id)
}

// Load compiles a DeviceModel, and fetches it if need be.
func (l *Library) Load(ctx context.Context, object *v1alpha1.DeviceModel) (*Model, *Trouble, error) {
	return l.compile(ctx, object, true)
}

// Refetch has the repository of a DeviceModel asked anew.
func (l *Library) Refetch(uid types.UID) { l.Repositories.forget(uid) }

// Forget drops a DeviceModel that is gone.
func (l *Library) Forget(uid types.UID) {
	l.Repositories.forget(uid)
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.compiled, uid)
}

func (l *Library) compile(ctx context.Context, object *v1alpha1.DeviceModel, fetch bool) (*Model, *Trouble, error) {
	known, err := l.known(ctx, object, fetch)
	if err != nil {
		return nil, nil, err
	}
	if known != nil {
		return known.model, known.trouble, nil
	}
	id, trouble := idOf(object)
	if trouble != nil {
		return nil, trouble, nil
	}
	own, serial, trouble := l.documents(ctx, object, fetch)
	if trouble != nil {
		return nil, trouble, nil
	}
	made, err := l.make(ctx, object, id, own, ingredient{uid: object.UID, generation: object.Generation, serial: serial}, fetch)
	if err != nil {
		return nil, nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.compiled[object.UID] = made
	return made.model, made.trouble, nil
}

// known is what was compiled before, nil if that no longer holds. It reads nothing of the model: this is what every check at admission costs.
func (l *Library) known(ctx context.Context, object *v1alpha1.DeviceModel, fetch bool) (*compiled, error) {
	l.mu.Lock()
	known := l.compiled[object.UID]
	l.mu.Unlock()
	self := ingredient{uid: object.UID, generation: object.Generation}
	if object.Spec.Repository != nil {
		if f := l.Repositories.have(keyOf(object)); f != nil {
			self.serial = f.serial
		}
	}
	if known == nil || known.from[0] != self {
		return nil, nil
	}
	same, err := l.unchanged(ctx, object.Namespace, known.from[1:], fetch)
	if err != nil || !same {
		return nil, err
	}
	return known, nil
}

// unchanged reports whether looking for what a model is made of finds what it found before.
func (l *Library) unchanged(ctx context.Context, namespace string, from []ingredient, fetch bool) (bool, error) {
	for _, was := range from {
		is, _, _, err := l.find(ctx, namespace, was.dtmi, fetch)
		if err != nil || is != was {
			return false, err
		}
	}
	return true, nil
}

// find looks for the DeviceModel that brings an interface along.
func (l *Library) find(ctx context.Context, namespace, dtmi string, fetch bool) (ingredient, [][]byte, *Trouble, error) {
	found, err := l.Shelf.ByInterface(ctx, namespace, dtmi)
	if err != nil || len(found) == 0 {
		return ingredient{dtmi: dtmi}, nil, nil, err
	}
	documents, serial, trouble := l.documents(ctx, found[0], fetch)
	return ingredient{dtmi, found[0].UID, found[0].Generation, serial}, documents, trouble, nil
}

// make parses a DeviceModel together with the others of the namespace that it needs.
func (l *Library) make(ctx context.Context, object *v1alpha1.DeviceModel, id string, own [][]byte, self ingredient, fetch bool) (*compiled, error) {
	made := &compiled{from: []ingredient{self}}
	sum := digest(own)
	if pin := pinOf(object); pin != "" && pin != sum {
		l.Repositories.forget(object.UID) // to be asked again
		made.trouble = &Trouble{Reason: v1alpha1.ReasonDigestMismatch, Message: fmt.Sprintf("The repository gives a model of digest %s, want %s", sum, pin)}
		return made, nil
	}
	parsed, documents, lacking, err := l.gather(ctx, object, own, made, fetch)
	if err != nil {
		return nil, err
	}
	if size := sizeOf(documents); len(documents) > maxFiles || size > maxParsed {
		made.trouble = invalid(fmt.Sprintf("With what it needs of other DeviceModels it has %d documents and %d bytes, want at most %d and %d", len(documents), size, maxFiles, maxParsed))
		return made, nil
	}
	if made.trouble = judge(parsed, id, len(own)); made.trouble == nil {
		made.model = &Model{Digest: sum, Device: parsed.Interface(id)}
	} else if made.trouble.Reason == v1alpha1.ReasonMissingInterfaces && lacking != nil {
		made.trouble = lacking
	}
	return made, nil
}

// gather adds the documents of other DeviceModels that are needed, until nothing more is found or it is too much, which is not parsed any more. lacking
// is the trouble of one of them.
func (l *Library) gather(ctx context.Context, object *v1alpha1.DeviceModel, own [][]byte, made *compiled, fetch bool) (
	parsed *dtdl.Model, documents [][]byte, lacking *Trouble, err error,
) {
	documents = own
	used := map[types.UID]bool{object.UID: true}
	for more := true; more && len(documents) <= maxFiles && sizeOf(documents) <= maxParsed; {
		more = false
		parsed = dtdl.Parse(documents...)
		for _, id := range missing(parsed) {
			if slices.ContainsFunc(made.from, func(i ingredient) bool { return i.dtmi == id }) {
				continue
			}
			one, theirs, trouble, err := l.find(ctx, object.Namespace, id, fetch)
			if err != nil {
				return nil, nil, nil, err
			}
			if trouble != nil {
				lacking = trouble
			}
			made.from = append(made.from, one)
			if len(theirs) > 0 && !used[one.uid] {
				used[one.uid], more = true, true
				documents = append(slices.Clip(documents), theirs...)
			}
		}
	}
	return parsed, documents, lacking, nil
}

func sizeOf(documents [][]byte) (size int) {
	for _, document := range documents {
		size += len(document)
	}
	return size
}

// judge says why a model cannot be used, nil if it can: the interfaces of its own documents have to be right, and what the device has must be there.
func judge(parsed *dtdl.Model, id string, own int) *Trouble {
	var mine, others []string
	for _, e := range parsed.Errors {
		if e.Document < own {
			mine = append(mine, e.Error())
		} else {
			others = append(others, e.Error())
		}
	}
	needs := missing(parsed)
	switch {
	case len(mine) > 0:
		return invalid(strings.Join(bounded(mine), "; "))
	case parsed.Interface(id) != nil:
		return nil
	case !parsed.Defines(id):
		return invalid(undefined(id))
	case len(needs) > 0:
		return &Trouble{Reason: v1alpha1.ReasonMissingInterfaces, Message: "No DeviceModel of the namespace has " + strings.Join(bounded(needs), ", "), Final: true}
	}
	return invalid("Another DeviceModel that it needs is wrong: " + strings.Join(bounded(others), "; "))
}

func invalid(message string) *Trouble {
	return &Trouble{Reason: v1alpha1.ReasonInvalidModel, Message: message, Final: true}
}

// documents of a DeviceModel itself, without what it needs of others.
func (l *Library) documents(ctx context.Context, object *v1alpha1.DeviceModel, fetch bool) ([][]byte, uint64, *Trouble) {
	if object.Spec.Repository == nil {
		if object.Spec.DTDL == nil {
			return nil, 0, nil
		}
		return [][]byte{object.Spec.DTDL.Raw}, 0, nil
	}
	key := keyOf(object)
	if !fetch {
		if known := l.Repositories.have(key); known != nil {
			return known.documents, known.serial, nil
		}
		return nil, 0, &Trouble{Reason: v1alpha1.ReasonProgressing, Message: "The model has not been fetched yet"}
	}
	known, trouble := l.Repositories.get(ctx, key)
	if trouble != nil {
		return nil, 0, trouble
	}
	return known.documents, known.serial, nil
}

func pinOf(object *v1alpha1.DeviceModel) string {
	if object.Spec.Repository == nil {
		return ""
	}
	return object.Spec.Repository.Digest
}

// idOf is the model that devices announce. It also tells of a spec that says too much or too little.
func idOf(object *v1alpha1.DeviceModel) (string, *Trouble) {
	spec := object.Spec
	hasDTDL := spec.DTDL != nil && len(spec.DTDL.Raw) > 0
	switch {
	case hasDTDL == (spec.Repository != nil):
		return "", invalid("exactly one of spec.dtdl and spec.repository must be set")
	case spec.ModelID != "":
		return spec.ModelID, nil
	case !hasDTDL:
		return "", invalid("spec.modelID must be set with spec.repository")
	}
	if ids := InterfacesOf(object); len(ids) > 0 {
		return ids[0], nil
	}
	return "", invalid("spec.dtdl has no interface with an @id")
}

// ModelIDOf is the model of the devices that a DeviceModel is for, empty if it does not say.
func ModelIDOf(object *v1alpha1.DeviceModel) string {
	id, _ := idOf(object)
	return id
}

// InterfacesOf lists the interfaces that a DeviceModel brings along for others, in their order, as far as they can be told without asking a repository.
func InterfacesOf(object *v1alpha1.DeviceModel) []string {
	if object.Spec.DTDL == nil {
		return nonEmpty(object.Spec.ModelID)
	}
	type named struct {
		ID string `json:"@id"`
	}
	var several []named
	if err := json.Unmarshal(object.Spec.DTDL.Raw, &several); err != nil {
		several = make([]named, 1)
		if err := json.Unmarshal(object.Spec.DTDL.Raw, &several[0]); err != nil {
			return nil
		}
	}
	var ids []string
	for _, one := range several {
		ids = append(ids, nonEmpty(one.ID)...)
	}
	return ids
}

func nonEmpty(id string) []string {
	if id == "" {
		return nil
	}
	return []string{id}
}

// digest identifies interfaces whatever order and layout they came in.
func digest(documents [][]byte) string {
	var all []string
	for _, document := range documents {
		v, err := twin.DecodeValue(document)
		if err != nil {
			all = append(all, string(document))
			continue
		}
		interfaces, isList := v.([]any)
		if !isList {
			interfaces = []any{v}
		}
		for _, one := range interfaces {
			all = append(all, string(twin.EncodeValue(one)))
		}
	}
	slices.Sort(all)
	sum := sha256.Sum256([]byte(strings.Join(all, "\n")))
	return "sha256:" + hex.EncodeToString(sum[:])
}

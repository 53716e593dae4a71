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

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/dtdl"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// Shelf finds DeviceModels of a namespace, the oldest first. They are not changed.
type Shelf interface {
	// ByModelID finds those for devices of a model.
	ByModelID(ctx context.Context, namespace, modelID string) ([]*v1alpha1.DeviceModel, error)
	// ByInterface finds those that bring an interface along.
	ByInterface(ctx context.Context, namespace, dtmi string) ([]*v1alpha1.DeviceModel, error)
	// Whole gives the whole of one that was found, or is about to be found, abridged.
	Whole(ctx context.Context, object *v1alpha1.DeviceModel) (*v1alpha1.DeviceModel, error)
}

const (
	// maxOutcomes bounds the bytes of the models that are kept ready. One of 50 properties takes 20 KB.
	maxOutcomes = 16 << 20
	// maxNeeded bounds how many interfaces of other DeviceModels are looked for.
	maxNeeded = 200
	// largeModel is how many bytes of JSON make a DeviceModel large: it is written down that it is about to be parsed.
	largeModel = 64 << 10
)

// Library knows the models of DeviceModels. It compiles each once, and anew when it changes or something that it needs does.
type Library struct {
	Shelf        Shelf
	Repositories *Repositories
	// Guarded is true where a large model is parsed only after Load wrote into its status that it is about to be.
	Guarded bool

	mu       sync.Mutex
	compiled map[types.UID]*compiled
	outcomes sizedCache[contentKey, *outcome]
	begun    map[types.UID]string // what status.parsing says of large models that this process may parse
}

// Trouble is why a DeviceModel cannot be used.
type Trouble struct {
	Reason, Message string
	// Final is true if only an edit helps, and Soon if the next try, at once, will get further.
	Final, Soon bool
	// Lacks is true if interfaces are missing, and nothing is known to be wrong with them.
	Lacks bool
	// OfOther is true if an edit of another DeviceModel helps as well: it may be about to come.
	OfOther bool
}

// Model is a DeviceModel that was compiled.
type Model struct {
	// Digest of its own interfaces.
	Digest string
	// Content is equal for models that are made of the same documents.
	Content string
	// Device is what a device of the model has.
	Device *dtdl.Interface
}

// compiled is what a model was made of: as long as that is the same, so is the outcome.
type compiled struct {
	from    []ingredient
	key     contentKey // of the outcome
	content string     // of the object itself, if it is large
	trouble *Trouble   // that is not the outcome's
}

// ingredient is a DeviceModel that went into another one's model. One that was looked for and is not there has no UID.
type ingredient struct {
	dtmi       string // that it was looked for, empty for the DeviceModel itself
	uid        types.UID
	generation int64
	serial     uint64 // of what was fetched
	// state says whether its documents may be used yet.
	state string
}

// NewLibrary returns one without anything compiled.
func NewLibrary(shelf Shelf, repositories *Repositories) *Library {
	return &Library{
		Shelf: shelf, Repositories: repositories,
		compiled: map[types.UID]*compiled{}, outcomes: newSizedCache[contentKey, *outcome](maxOutcomes), begun: map[types.UID]string{},
	}
}

// CheckDevice checks what a PnPDevice of a model declares.
func (l *Library) CheckDevice(ctx context.Context, namespace, modelID string, declared twin.Declaration) (Verdict, error) {
	return l.check(ctx, namespace, modelID, func(device *dtdl.Interface) []string { return checkDeclaration(device, declared) })
}

// CheckCommand checks a command for a device of a model, and what no model makes good.
func (l *Library) CheckCommand(ctx context.Context, namespace, modelID string, command *v1alpha1.DeviceCommandSpec) (Verdict, error) {
	device, verdict, err := l.Device(ctx, namespace, modelID)
	if err != nil || verdict.NotReady != "" {
		return verdict, err
	}
	if verdict.Rounded = rounded(requestOf(device, command), command.Payload); len(verdict.Rounded) == 0 && device != nil {
		verdict.Violations = checkCommand(device, command)
	}
	return verdict, nil
}

func (l *Library) check(ctx context.Context, namespace, modelID string, violations func(*dtdl.Interface) []string) (Verdict, error) {
	device, verdict, err := l.Device(ctx, namespace, modelID)
	if device != nil {
		verdict.Violations = violations(device)
	}
	return verdict, err
}

// Device finds what a device of a model has, nil if no DeviceModel of the namespace can say. The
// verdict tells which one was asked.
func (l *Library) Device(ctx context.Context, namespace, modelID string) (*dtdl.Interface, Verdict, error) {
	if modelID == "" {
		return nil, Verdict{}, nil
	}
	found, err := l.Shelf.ByModelID(ctx, namespace, modelID)
	if err != nil || len(found) == 0 {
		return nil, Verdict{Of: modelID}, err
	}
	verdict := Verdict{Model: found[0].Name, Of: fmt.Sprintf("%s %s/%d", modelID, found[0].UID, found[0].Generation), Warn: found[0].Spec.Validation == v1alpha1.ValidationWarn}
	model, trouble, err := l.compile(ctx, found[0], false)
	switch {
	case err != nil:
		return nil, Verdict{}, err
	case trouble != nil:
		verdict.NotReady = trouble.Message
		return nil, verdict, nil
	}
	return model.Device, verdict, nil
}

// CheckModel lists what is wrong with a DeviceModel, and what it still needs. A repository is not asked. It fails if ctx ends while other models are parsed.
func (l *Library) CheckModel(ctx context.Context, object *v1alpha1.DeviceModel) (violations, warnings []string, err error) {
	id, trouble := idOf(object)
	if trouble != nil {
		return []string{trouble.Message}, nil, nil
	}
	if object.Spec.Repository != nil {
		if _, trouble := l.Repositories.root(object.Spec.Repository.URL); trouble != nil {
			return []string{trouble.Message}, nil, nil
		}
		return nil, nil, nil
	}
	_, found, err := l.parse(ctx, object.Namespace, id, 1, [][]byte{object.Spec.DTDL.Raw})
	if err != nil {
		return nil, nil, err
	}
	var needs declaration.Violations
	for _, missing := range found.missing {
		needs.Add(func() string {
			return fmt.Sprintf("spec.dtdl%s: needs %s, which has to be in another DeviceModel of the namespace", missing.Path, missing.DTMI)
		})
	}
	return found.violations, needs.Texts(), nil
}

// Load compiles a DeviceModel, and fetches it if need be. In its status it notes which large model is about to be parsed, and which one was.
func (l *Library) Load(ctx context.Context, object *v1alpha1.DeviceModel) (*Model, *Trouble, error) {
	l.Repositories.follow(ctx, object)
	return l.compile(ctx, object, true)
}

// Refetch has the repository of a DeviceModel asked anew.
func (l *Library) Refetch(uid types.UID) { l.Repositories.refetch(uid) }

// Retry has the repository of a DeviceModel that was edited asked at once, if it failed before.
func (l *Library) Retry(uid types.UID) { l.Repositories.retry(uid) }

// Forget drops a DeviceModel that is gone.
func (l *Library) Forget(uid types.UID) {
	l.Repositories.forget(uid)
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.compiled, uid)
	delete(l.begun, uid)
}

// compile makes a model. load is true for Load.
func (l *Library) compile(ctx context.Context, object *v1alpha1.DeviceModel, load bool) (*Model, *Trouble, error) {
	made, found, err := l.known(ctx, object, load)
	if err != nil {
		return nil, nil, err
	}
	if made == nil {
		var trouble *Trouble
		if made, found, trouble, err = l.anew(ctx, object, load); err != nil || trouble != nil {
			return nil, trouble, err
		}
	}
	if load {
		l.passed(object.UID, &object.Status, made.content)
	}
	switch {
	case made.trouble != nil:
		return nil, made.trouble, nil
	case found.trouble != nil:
		return nil, found.trouble, nil
	}
	return &Model{Digest: found.digest, Content: made.key.String(), Device: found.device}, nil, nil
}

// anew compiles a DeviceModel that is not known, or not as it is.
func (l *Library) anew(ctx context.Context, object *v1alpha1.DeviceModel, load bool) (*compiled, *outcome, *Trouble, error) {
	whole, err := l.whole(ctx, object)
	if err != nil {
		return nil, nil, nil, err
	}
	id, trouble := idOf(whole)
	if trouble != nil {
		return nil, nil, trouble, nil
	}
	serial, trouble := l.serial(ctx, object, load)
	if trouble != nil {
		return nil, nil, trouble, nil
	}
	own, trouble := l.documents(ctx, whole, load)
	if trouble != nil {
		return nil, nil, trouble, nil
	}
	made := &compiled{from: []ingredient{{uid: object.UID, generation: object.Generation, serial: serial}}, content: contentOf(own)}
	if trouble := l.guard(object.UID, &object.Status, made.content, load); trouble != nil {
		return nil, nil, trouble, nil
	}
	found, err := l.make(ctx, object, id, own, made, load)
	if err != nil {
		return nil, nil, nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.compiled[object.UID] = made
	return made, found, nil, nil
}

// known is what was compiled before, nil if that no longer holds. It reads nothing of the model: this is what every check at admission costs.
func (l *Library) known(ctx context.Context, object *v1alpha1.DeviceModel, load bool) (*compiled, *outcome, error) {
	l.mu.Lock()
	known := l.compiled[object.UID]
	l.mu.Unlock()
	self := ingredient{uid: object.UID, generation: object.Generation}
	if object.Spec.Repository != nil {
		self.serial = l.Repositories.serialOf(keyOf(object))
	}
	if known == nil || known.from[0] != self {
		return nil, nil, nil
	}
	found := l.outcome(known.key)
	if found == nil {
		return nil, nil, nil
	}
	same, err := l.unchanged(ctx, object.Namespace, known.from[1:], load)
	if err != nil || !same {
		return nil, nil, err
	}
	return known, found, nil
}

// unchanged reports whether looking for what a model is made of finds what it found before.
func (l *Library) unchanged(ctx context.Context, namespace string, from []ingredient, load bool) (bool, error) {
	for _, was := range from {
		is, _, _, err := l.find(ctx, namespace, was.dtmi, load)
		if err != nil || is != was {
			return false, err
		}
	}
	return true, nil
}

// find looks for the DeviceModel that brings an interface along, nil if there is none.
func (l *Library) find(ctx context.Context, namespace, dtmi string, load bool) (ingredient, *v1alpha1.DeviceModel, *Trouble, error) {
	found, err := l.Shelf.ByInterface(ctx, namespace, dtmi)
	if err != nil || len(found) == 0 {
		return ingredient{dtmi: dtmi}, nil, nil, err
	}
	serial, trouble := l.serial(ctx, found[0], load)
	return ingredient{dtmi, found[0].UID, found[0].Generation, serial, stateOf(found[0], trouble)}, found[0], trouble, nil
}

// stateOf changes with whatever may have the documents of another DeviceModel used, or not: they were fetched, or parsed.
func stateOf(other *v1alpha1.DeviceModel, trouble *Trouble) string {
	if trouble != nil {
		return trouble.Message
	}
	return other.Status.Parsed + " " + other.Status.Parsing
}

// make parses a DeviceModel together with the others of the namespace that it needs.
func (l *Library) make(ctx context.Context, object *v1alpha1.DeviceModel, id string, own [][]byte, made *compiled, load bool) (*outcome, error) {
	key, found, err := l.parse(ctx, object.Namespace, id, len(own), own)
	made.key = key
	if err != nil {
		return nil, err
	}
	if pin := pinOf(object); pin != "" && found.digest != "" && pin != found.digest {
		made.trouble = &Trouble{Reason: v1alpha1.ReasonDigestMismatch, Message: fmt.Sprintf("The repository gives a model of digest %s, want %s", found.digest, pin)}
		l.Repositories.again(object.UID, made.trouble)
		return found, nil
	}
	if len(found.missing) == 0 {
		return found, nil
	}
	g, err := l.gather(ctx, object, missingOf(found.missing), made, load)
	if err != nil || made.trouble != nil {
		return found, err
	}
	if documents := slices.Concat(own, g.documents); len(documents) > maxFiles {
		made.trouble = invalid(fmt.Sprintf("With what it needs of other DeviceModels it has %d documents, want at most %d", len(documents), maxFiles))
		return found, nil
	} else if len(g.documents) > 0 {
		if made.key, found, err = l.parse(ctx, object.Namespace, id, len(own), documents); err != nil {
			return nil, err
		}
	}
	if found.trouble != nil && found.trouble.Lacks && g.lacking != nil {
		made.trouble = g.lacking
	}
	return found, nil
}

// gathering collects the documents of other DeviceModels that a model needs, each of which is read once, until nothing more is found or it is too much.
type gathering struct {
	*Library
	namespace string
	load      bool
	made      *compiled

	settled   map[string]bool // interfaces that were looked for, or came along
	used      map[types.UID]bool
	documents [][]byte
	lacking   *Trouble // of one of those that are needed
}

func (l *Library) gather(ctx context.Context, object *v1alpha1.DeviceModel, wanted []string, made *compiled, load bool) (*gathering, error) {
	g := &gathering{Library: l, namespace: object.Namespace, load: load, made: made, settled: map[string]bool{}, used: map[types.UID]bool{object.UID: true}}
	for len(wanted) > 0 && sizeOf(g.documents) <= dtdl.MaxBytes {
		id := wanted[0]
		if wanted = wanted[1:]; g.settled[id] {
			continue
		}
		g.settled[id] = true
		if len(made.from) > maxNeeded {
			made.trouble = invalid(fmt.Sprintf("It needs more than %d interfaces of other DeviceModels, want at most that", maxNeeded))
			break
		}
		more, err := g.take(ctx, id)
		if err != nil {
			return nil, err
		}
		wanted = append(wanted, more...)
	}
	return g, nil
}

// take adds the documents that bring an interface along, and lists what they need in turn.
func (g *gathering) take(ctx context.Context, id string) (wanted []string, err error) {
	one, other, trouble, err := g.find(ctx, g.namespace, id, g.load)
	if err != nil {
		return nil, err
	}
	g.made.from = append(g.made.from, one)
	var theirs [][]byte
	if other != nil && trouble == nil && !g.used[one.uid] {
		g.used[one.uid] = true
		theirs, trouble, err = g.documentsOf(ctx, other, g.load)
	}
	if trouble != nil {
		g.lacking = trouble
	}
	if err != nil || len(theirs) == 0 {
		return nil, err
	}
	g.documents = append(g.documents, theirs...)
	if sizeOf(g.documents) > dtdl.MaxBytes {
		return nil, nil // which is too much, and is not parsed
	}
	named, err := namesIn(ctx, g.namespace, theirs)
	for _, id := range named.defined {
		g.settled[id] = true
	}
	return named.missing, err
}

// documentsOf are those of another DeviceModel.
func (l *Library) documentsOf(ctx context.Context, other *v1alpha1.DeviceModel, load bool) ([][]byte, *Trouble, error) {
	whole, err := l.whole(ctx, other)
	if err != nil {
		return nil, nil, err
	}
	documents, trouble := l.documents(ctx, whole, load)
	if trouble == nil {
		trouble = l.guard(other.UID, &other.Status, contentOf(documents), false)
	}
	if trouble != nil {
		return nil, trouble, nil
	}
	return documents, nil, nil
}

func sizeOf(documents [][]byte) (size int) {
	for _, document := range documents {
		size += len(document)
	}
	return size
}

// serial says which content a DeviceModel has from its repository, which is asked only for Load.
func (l *Library) serial(ctx context.Context, object *v1alpha1.DeviceModel, load bool) (uint64, *Trouble) {
	if object.Spec.Repository == nil {
		return 0, nil
	}
	key := keyOf(object)
	if serial := l.Repositories.serialOf(key); serial != 0 {
		return serial, nil
	}
	if !load {
		return 0, &Trouble{Reason: v1alpha1.ReasonProgressing, Message: "The model has not been fetched yet"}
	}
	known, trouble := l.Repositories.get(ctx, key)
	if trouble != nil {
		return 0, trouble
	}
	return known.serial, nil
}

// whole is a DeviceModel as the API server has it, if memory holds less.
func (l *Library) whole(ctx context.Context, object *v1alpha1.DeviceModel) (*v1alpha1.DeviceModel, error) {
	if !isAbridged(object) {
		return object, nil
	}
	whole, err := l.Shelf.Whole(ctx, object)
	if err != nil {
		return nil, fmt.Errorf("reading DeviceModel %q, which is too large to be kept: %w", object.Name, err)
	}
	return whole, nil
}

// documents of a DeviceModel itself, without what it needs of others.
func (l *Library) documents(ctx context.Context, object *v1alpha1.DeviceModel, load bool) ([][]byte, *Trouble) {
	switch {
	case object.Spec.Repository == nil && object.Spec.DTDL == nil:
		return nil, nil
	case object.Spec.Repository == nil:
		return [][]byte{object.Spec.DTDL.Raw}, nil
	}
	if known := l.Repositories.have(keyOf(object)); known != nil {
		return known.documents, nil
	}
	if !load {
		return nil, &Trouble{Reason: v1alpha1.ReasonProgressing, Message: "The model was dropped from memory, and has not been fetched again yet"}
	}
	known, trouble := l.Repositories.get(ctx, keyOf(object))
	if trouble != nil {
		return nil, trouble
	}
	return known.documents, nil
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
	case hasDTDL && dtdl.CheckSize(spec.DTDL.Raw) != nil:
		return "", invalid("spec.dtdl: " + dtdl.CheckSize(spec.DTDL.Raw).Error())
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

// InterfacesOf lists the interfaces that a DeviceModel brings along for others, in their order, as far as they can be told without asking a repository. One
// that is beyond a bound brings none.
func InterfacesOf(object *v1alpha1.DeviceModel) []string {
	if object.Spec.DTDL == nil {
		return named(object.Spec.ModelID)
	}
	if dtdl.CheckSize(object.Spec.DTDL.Raw) != nil {
		return nil
	}
	var several []identified
	if err := json.Unmarshal(object.Spec.DTDL.Raw, &several); err != nil {
		several = make([]identified, 1)
		if err := json.Unmarshal(object.Spec.DTDL.Raw, &several[0]); err != nil {
			return nil
		}
	}
	var ids []string
	for _, one := range several {
		ids = append(ids, named(one.ID)...)
	}
	if len(ids) > dtdl.MaxInterfaces {
		return nil
	}
	return ids
}

// identified is an interface of which only the name matters.
type identified struct {
	ID string `json:"@id"`
}

// named is an identifier, if an interface can have it.
func named(id string) []string {
	if id == "" || len(id) > dtdl.MaxInterfaceID {
		return nil
	}
	return []string{id}
}

// AnnotationAbridged marks an object in memory that lacks a part which is large: of a DeviceModel, all of dtdl but the names of its interfaces.
const AnnotationAbridged = "iot.pnp-operator.io/abridged"

// maxKept is how many bytes of JSON a DeviceModel may have that is kept in memory as it is. The largest of 186 published models has 9 KB.
const maxKept = 16 << 10

// Abridge leaves of a DeviceModel with much content only what it is found by.
func Abridge(object *v1alpha1.DeviceModel) {
	if object.Spec.DTDL == nil || len(object.Spec.DTDL.Raw) <= maxKept {
		return
	}
	interfaces := []identified{}
	for _, id := range InterfacesOf(object) {
		interfaces = append(interfaces, identified{id})
	}
	raw, err := json.Marshal(interfaces)
	if err != nil {
		return // texts can be encoded
	}
	object.Spec.DTDL = &apiextensionsv1.JSON{Raw: raw}
	metav1.SetMetaDataAnnotation(&object.ObjectMeta, AnnotationAbridged, "true")
}

func isAbridged(object *v1alpha1.DeviceModel) bool {
	return object.Annotations[AnnotationAbridged] != ""
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

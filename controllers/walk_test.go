package controllers_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/reasons"
)

// How long an object may take to be right once the cause of its wait is gone, on a slow machine of
// tests: the aim is five seconds, and 35.
const (
	told  = 20 * time.Second // where an event tells
	asked = time.Minute      // where only asking does
)

// walk is a way through one state of an object: in, a look at all that is seen, and out again.
type walk struct {
	// from is where it begins: all is well there. If nil, device "d" acknowledged 42 degrees.
	from func() *site
	// enter has the object come into the state. It returns what ends that, nil if nothing does.
	enter func(s *site) (leave func())
	// shows is what is seen of the object in the state.
	shows seen
	// right holds once the state is left; if nil, the object is Ready.
	right func(s *site, g Gomega)
	// within is how long that may take.
	within time.Duration
	// moves is true of a state in which other objects go on moving.
	moves bool
}

// seen is what a person sees of an object.
type seen struct {
	ready   string // condition Ready as "status/reason"
	kstatus string // of Flux and kubectl wait
	line    string // a text in the columns of kubectl get
	with    string // another condition that makes the state, as "kind=status/reason"
	of      string // the object's name, if it is not the usual one
}

func current(reason, line string) seen {
	return seen{ready: "True/" + reason, kstatus: "Current", line: line}
}

func waits(reason, line string) seen {
	return seen{ready: "False/" + reason, kstatus: "InProgress", line: line}
}

func fails(reason, line string) seen {
	return seen{ready: "False/" + reason, kstatus: "Failed", line: line}
}

// leaving is the same of an object that is being deleted.
func (w seen) leaving() seen {
	w.kstatus = "Terminating"
	return w
}

// and adds a condition.
func (w seen) and(kind, want string) seen {
	w.with = kind + "=" + want
	return w
}

// on is the same of another object.
func (w seen) on(name string) seen {
	w.of = name
	return w
}

// reasons that the state shows.
func (w seen) reasons() []string {
	_, ready, _ := strings.Cut(w.ready, "/")
	_, with, _ := strings.Cut(w.with, "/")
	return []string{ready, with}
}

// tour is the walk through all states of a kind.
type tour struct {
	kind, resource, usual string
	empty                 func() client.Object
	agrees                func(s *site, g Gomega, v *view)
	walks                 map[string]walk
}

var tours = []tour{
	{"PnPDevice", "pnpdevices", "d", func() client.Object { return &v1alpha1.PnPDevice{} }, (*site).deviceAgrees, walksOfDevices},
	{"IoTHub", "iothubs", "hub", func() client.Object { return &v1alpha1.IoTHub{} }, (*site).hubAgrees, walksOfHubs},
	{"DeviceCommand", "devicecommands", "c", func() client.Object { return &v1alpha1.DeviceCommand{} }, (*site).commandAgrees, walksOfCommands},
	{"DeviceModel", "devicemodels", "thermostat", func() client.Object { return &v1alpha1.DeviceModel{} }, func(*site, Gomega, *view) {}, walksOfModels},
}

// view is an object and its line of kubectl get, of one moment.
type view struct {
	client.Object

	columns []string
	cells   map[string]string
}

// look asks the API server for an object as kubectl get does.
func (t *tour) look(s *site, g Gomega, name string) *view {
	clients, err := kubernetes.NewForConfig(environment.Config)
	g.Expect(err).NotTo(HaveOccurred())
	raw, err := clients.Discovery().RESTClient().Get().AbsPath("apis", v1alpha1.GroupVersion.Group, v1alpha1.GroupVersion.Version, "namespaces", s.namespace, t.resource, name).
		SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").Param("includeObject", "Object").DoRaw(ctx)
	g.Expect(err).NotTo(HaveOccurred())
	var table metav1.Table
	g.Expect(json.Unmarshal(raw, &table)).To(Succeed())
	g.Expect(table.Rows).To(HaveLen(1))
	v := &view{Object: t.empty(), cells: map[string]string{}}
	g.Expect(json.Unmarshal(table.Rows[0].Object.Raw, v.Object)).To(Succeed())
	for i, column := range table.ColumnDefinitions {
		text := ""
		if cell := table.Rows[0].Cells[i]; cell != nil {
			text = fmt.Sprint(cell)
		}
		v.cells[column.Name] = text
		if column.Priority == 0 {
			v.columns = append(v.columns, column.Name)
		}
	}
	return v
}

// line is that of kubectl get, but for what names the object.
func (v *view) line() string {
	var cells []string
	for _, column := range v.columns {
		if text := v.cells[column]; text != "" && !slices.Contains([]string{"Name", "Age", "Hub", "Host", "Device", "Model", "Component", "Command"}, column) {
			cells = append(cells, text)
		}
	}
	return strings.Join(cells, " ")
}

func (v *view) condition(kind string) metav1.Condition { return conditionOf(v.Object, kind) }

func (v *view) is(kind string) bool { return v.condition(kind).Status == metav1.ConditionTrue }

// conditions of an object that has any.
func (v *view) conditions() []metav1.Condition {
	return *v.Object.(interface{ GetConditions() *[]metav1.Condition }).GetConditions()
}

// shows holds a view against what the state is seen by.
func (v *view) shows(g Gomega, want seen) {
	g.Expect(ready(v.Object)).To(Equal(want.ready), v.condition(v1alpha1.ConditionReady).Message)
	if kind, condition, ok := strings.Cut(want.with, "="); ok {
		g.Expect(v.Object).To(haveCondition(kind, condition))
	}
	g.Expect(v.line()).To(ContainSubstring(want.line))
	for _, c := range v.conditions() {
		g.Expect(c.ObservedGeneration).To(Equal(v.GetGeneration()), c.Type)
	}
}

// coheres holds all that is seen of one object at one moment against each other.
func (v *view) coheres(g Gomega, kstatus string) {
	is := v.condition(v1alpha1.ConditionReady)
	g.Expect(is.Message).NotTo(BeEmpty())
	for _, c := range v.conditions() {
		g.Expect(c.ObservedGeneration).To(Equal(v.GetGeneration()), c.Type)
	}
	g.Expect(v.Object).To(HaveField("Status.ObservedGeneration", v.GetGeneration()))
	g.Expect(v.is(v1alpha1.ConditionReady) && v.is(v1alpha1.ConditionStalled)).To(BeFalse())
	g.Expect(v.is(v1alpha1.ConditionReconciling)).To(Equal(is.Status != metav1.ConditionTrue && !v.is(v1alpha1.ConditionStalled)))
	for _, kind := range []string{v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled} {
		if c := v.condition(kind); c.Status != "" {
			g.Expect(c).To(And(HaveField("Status", metav1.ConditionTrue), HaveField("Reason", is.Reason), HaveField("Message", is.Message)))
		}
	}
	g.Expect(v.cells).To(HaveKeyWithValue("Status", is.Message))
	if shown, ok := v.cells["Ready"]; ok {
		g.Expect(shown).To(Equal(string(is.Status)))
	}
	g.Expect(kstatusOf(v.Object)).To(Equal(kstatus))
	v.agreesWithReasons(g, is)
}

// agreesWithReasons holds an object against the row of its reason. A PnPDevice is read again if the
// reason leaves open what the hub holds.
func (v *view) agreesWithReasons(g Gomega, is metav1.Condition) {
	row, says := reasons.Of(is.Reason), reasons.InProgress
	switch {
	case is.Status == metav1.ConditionTrue:
		says = reasons.Current
	case v.is(v1alpha1.ConditionStalled):
		says = reasons.Failed
	}
	kind := strings.TrimPrefix(fmt.Sprintf("%T", v.Object), "*v1alpha1.")
	g.Expect(row.Allows(kind, says)).To(BeTrue(), "the table of reasons has no %s on a %s like this", is.Reason, kind)
	if d, ok := v.Object.(*v1alpha1.PnPDevice); ok && row.ReadAgain && d.Status.Twin != nil {
		g.Expect(d.Status.Twin.Unconfirmed).To(BeTrue(), "%s leaves open what the hub holds", is.Reason)
	}
}

// deviceAgrees holds what is seen of a PnPDevice against its hub's twin, its IoTHub's counts and the
// Events.
func (s *site) deviceAgrees(g Gomega, v *view) {
	d := v.Object.(*v1alpha1.PnPDevice)
	g.Expect(d.Status.Summary).To(Equal(fmt.Sprintf("%d/%d", d.Status.Acknowledged, d.Status.Declared)))
	g.Expect(v.cells).To(HaveKeyWithValue("Acked", d.Status.Summary))
	if v.is("Ready") {
		g.Expect(v.is("Synced")).To(BeTrue())
	} else {
		g.Expect(v.condition("Ready").Message).NotTo(ContainSubstring("acknowledged every"))
	}
	if d.DeletionTimestamp == nil {
		g.Expect(v.is("Acknowledged")).To(Equal(d.Status.Acknowledged == d.Status.Declared), d.Status.Summary)
	}
	for _, kind := range []string{"Synced", "Acknowledged"} {
		if !v.is(kind) && !v.is("Ready") {
			g.Expect(d).To(Or(beUnsettled(kind), haveCondition(kind, "False/"+v1alpha1.ReasonDeviceNotFound)))
		}
	}
	if v.is("Synced") && d.Status.DeviceStatus == "" && !d.Spec.Suspend {
		for name, value := range declaredBy(g, d) {
			g.Expect(s.desired(d.DeviceID())).To(HaveKeyWithValue(name, BeEquivalentTo(value)))
		}
	}
	g.Expect(v.is("Suspended")).To(Equal(d.Spec.Suspend))
	s.countsAgree(g, d.Spec.HubRef.Name)
	s.eventsAgree(g, v, v1alpha1.ReasonDriftCorrected, v1alpha1.ReasonReleased)
}

// declaredBy are the values of the default component that a PnPDevice declares.
func declaredBy(g Gomega, d *v1alpha1.PnPDevice) (declared map[string]any) {
	if d.Spec.Properties != nil {
		g.Expect(json.Unmarshal(d.Spec.Properties.Raw, &declared)).To(Succeed())
	}
	return declared
}

// countsAgree holds the counts of an IoTHub against its PnPDevices.
func (s *site) countsAgree(g Gomega, name string) {
	hub := &v1alpha1.IoTHub{}
	if admin.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: name}, hub) != nil {
		return // it does not exist, which is a state
	}
	var all v1alpha1.PnPDeviceList
	g.Expect(admin.List(ctx, &all, client.InNamespace(s.namespace))).To(Succeed())
	want := v1alpha1.IoTHubDevices{}
	for _, d := range all.Items {
		if d.Spec.HubRef.Name == name {
			want.Total++
			want.Ready += one(isTrueOn(d, v1alpha1.ConditionReady))
			want.Offline += one(d.Status.ConnectionState == "Disconnected")
			want.Clearing += one(d.DeletionTimestamp != nil)
		}
	}
	if want.Total > 0 {
		g.Expect(hub.Status.Devices).To(HaveValue(Equal(want)))
	}
}

func one(is bool) int32 {
	if is {
		return 1
	}
	return 0
}

// eventsAgree holds the last Event against Ready: a stalled object has a Warning of its reason, one
// that is Ready has none, but for those that tell of something beside it.
func (s *site) eventsAgree(g Gomega, v *view, beside ...string) {
	last := s.lastEvent(v.GetName())
	kind, reason, _ := strings.Cut(last, " ")
	if slices.Contains(beside, reason) {
		return
	}
	why := v.condition(v1alpha1.ConditionReady).Reason
	if v.is(v1alpha1.ConditionStalled) && why != v1alpha1.ReasonHubNotReady { // of that the IoTHub tells
		g.Expect(last).To(Equal("Warning " + why))
	} else if v.is(v1alpha1.ConditionReady) && why != v1alpha1.ReasonAccessDenied { // a right that was withdrawn
		g.Expect(kind).NotTo(Equal("Warning"), last)
	}
}

// hubAgrees holds what is seen of an IoTHub against its devices and the Events.
func (s *site) hubAgrees(g Gomega, v *view) {
	h := v.Object.(*v1alpha1.IoTHub)
	halted := v.is(v1alpha1.ConditionRemovalsHalted)
	g.Expect(v.is(v1alpha1.ConditionReady)).To(Equal(v.is(v1alpha1.ConditionAuthenticated) && !halted))
	g.Expect(v.is(v1alpha1.ConditionSuspended)).To(Equal(h.Spec.Suspend))
	streams := v.condition(v1alpha1.ConditionEventStreamReady).Status != ""
	g.Expect(streams).To(Equal(h.Spec.Events != nil))
	for _, kind := range []string{v1alpha1.ConditionSuspended, v1alpha1.ConditionThrottled, v1alpha1.ConditionSweepsIncomplete} {
		g.Expect(string(v.condition(kind).Status)).To(BeElementOf("", "True"), kind)
	}
	g.Expect(v.cells).To(And(
		HaveKeyWithValue("Suspended", string(v.condition(v1alpha1.ConditionSuspended).Status)),
		HaveKeyWithValue("Throttled", v.condition(v1alpha1.ConditionThrottled).Reason),
		HaveKeyWithValue("Events", v.condition(v1alpha1.ConditionEventStreamReady).Reason)))
	s.countsAgree(g, h.Name)
	if out := v.condition(v1alpha1.ConditionThrottled).Reason; out == v1alpha1.ReasonQuotaExceeded || out == v1alpha1.ReasonDailyMessagesUsed {
		g.Expect(s.lastEvent(h.Name)).To(Equal("Warning " + out))
	} else {
		s.eventsAgree(g, v, v1alpha1.ReasonSuspended, v1alpha1.ReasonResumed)
	}
}

// commandAgrees holds what is seen of a DeviceCommand against its outcome, and the Event of its
// device.
func (s *site) commandAgrees(g Gomega, v *view) {
	c := v.Object.(*v1alpha1.DeviceCommand)
	g.Expect(v.cells).To(HaveKeyWithValue("Outcome", string(c.Status.Outcome)))
	g.Expect(c.Finished()).To(Equal(v.is(v1alpha1.ConditionReady) || v.is(v1alpha1.ConditionStalled)))
	succeeded := c.Status.Outcome == v1alpha1.CommandSucceeded
	g.Expect(succeeded).To(Equal(v.is(v1alpha1.ConditionReady)))
	if c.Status.Outcome != "" && v.condition(v1alpha1.ConditionReady).Reason != v1alpha1.ReasonRecorded {
		g.Expect(s.eventNotes(c.Spec.DeviceRef.Name, "Command"+string(c.Status.Outcome))).NotTo(BeEmpty())
	}
}

// rests waits until no object of the site moved for a second.
func (s *site) rests() {
	GinkgoHelper()
	was, since := "", time.Now()
	Eventually(func(g Gomega) {
		is := ""
		for _, list := range []client.ObjectList{&v1alpha1.IoTHubList{}, &v1alpha1.PnPDeviceList{}, &v1alpha1.DeviceCommandList{}, &v1alpha1.DeviceModelList{}} {
			g.Expect(admin.List(ctx, list, client.InNamespace(s.namespace))).To(Succeed())
			is += versionsIn(list)
		}
		if is != was {
			was, since = is, time.Now()
		}
		g.Expect(time.Since(since)).To(BeNumerically(">", time.Second), is)
	}, "30s").Should(Succeed())
}

// versionsIn are names and versions of the objects of a list.
func versionsIn(list client.ObjectList) string {
	GinkgoHelper()
	raw, err := json.Marshal(list)
	Expect(err).NotTo(HaveOccurred())
	var all struct {
		Items []metav1.PartialObjectMetadata `json:"items"`
	}
	Expect(json.Unmarshal(raw, &all)).To(Succeed())
	text := ""
	for _, o := range all.Items {
		text += o.Name + "@" + o.ResourceVersion + " "
	}
	return text
}

// play goes through a state. It returns the state's line of the table.
func (t *tour) play(name string, w walk) string {
	GinkgoHelper()
	if w.from == nil {
		w.from = acknowledged
	}
	if w.shows.of == "" {
		w.shows.of = t.usual
	}
	s := w.from()
	leave := w.enter(s)

	By("being seen, at once")
	var v *view
	Eventually(func(g Gomega) {
		v = t.look(s, g, w.shows.of)
		v.shows(g, w.shows)
	}).Should(Succeed())
	v.coheres(Default, w.shows.kstatus)

	By("being seen, once nothing moves")
	if !w.moves {
		s.rests()
	}
	Eventually(func(g Gomega) {
		v = t.look(s, g, w.shows.of)
		v.shows(g, w.shows)
		v.coheres(g, w.shows.kstatus)
		t.agrees(s, g, v)
	}).Should(Succeed())
	line := fmt.Sprintf("| %s | %s | %s | %s | ", t.kind, name, inTable(v.line()), inTable(s.described(v)))
	if leave == nil {
		return line + "stays |"
	}

	By("being left")
	leave()
	began := time.Now()
	t.leaves(s, w, v)
	return line + roundedUp(time.Since(began)) + " |"
}

// leaves waits until all is right, and nothing is left of the state that was seen.
func (t *tour) leaves(s *site, w walk, was *view) {
	GinkgoHelper()
	if w.right != nil {
		Eventually(func(g Gomega) { w.right(s, g) }, w.within).Should(Succeed())
		return
	}
	Eventually(func(g Gomega) { g.Expect(t.look(s, g, w.shows.of).Object).To(beReady()) }, w.within).Should(Succeed())
	Eventually(func(g Gomega) {
		v := t.look(s, g, w.shows.of)
		v.coheres(g, "Current")
		g.Expect(v.Object).To(beReady())
		t.agrees(s, g, v)
		if kind, condition, ok := strings.Cut(w.shows.with, "="); ok {
			g.Expect(v.Object).NotTo(haveCondition(kind, condition))
		}
		if ready(v.Object) == w.shows.ready && w.shows.with == "" {
			g.Expect(v.condition(v1alpha1.ConditionReady).Message).NotTo(Equal(was.condition(v1alpha1.ConditionReady).Message))
		}
	}, w.within+10*time.Second).Should(Succeed(), "nothing is left of it")
}

// described is what kubectl describe says beside the line: conditions, and the last Event.
func (s *site) described(v *view) string {
	var all []string
	for _, c := range v.conditions() {
		text := fmt.Sprintf("%s=%s %s", c.Type, c.Status, c.Reason)
		if c.Type == v1alpha1.ConditionReconciling || c.Type == v1alpha1.ConditionStalled {
			text = c.Type
		}
		all = append(all, text)
	}
	slices.Sort(all)
	text := strings.Join(all, ", ")
	if last := s.lastEvent(v.GetName()); last != "" {
		text += "; " + last
	}
	return text
}

// Things in what is said that are others in each run.
var (
	aTime   = regexp.MustCompile(`20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ`)
	aHost   = regexp.MustCompile(`factory-\d+\.`)
	aPort   = regexp.MustCompile(`(localhost|127\.0\.0\.1):\d+`)
	aNumber = regexp.MustCompile(`factory-\d+`)
	aSite   = regexp.MustCompile(`site-[a-z0-9]{5}`)
	aDigest = regexp.MustCompile(`sha256:[0-9a-f]{64}`)
	aClient = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
)

// inTable is a text as a cell of a table of docs, the same in each run, and of bounded length.
func inTable(text string) string {
	text = aTime.ReplaceAllString(text, "2026-11-23T08:00:02Z")
	text = aHost.ReplaceAllString(text, "factory.")
	text = aPort.ReplaceAllString(text, "$1:443")
	text = aNumber.ReplaceAllString(text, "factory")
	text = aSite.ReplaceAllString(text, "factory")
	text = aDigest.ReplaceAllString(text, "sha256:...")
	text = aClient.ReplaceAllString(text, "1111...")
	if runes := []rune(text); len(runes) > 200 {
		text = string(runes[:200]) + "..."
	}
	return strings.ReplaceAll(strings.ReplaceAll(text, "|", `\|`), "<", "&lt;")
}

// roundedUp is a time in steps that runs on other machines do not leave.
func roundedUp(d time.Duration) string {
	for _, most := range []int{2, 5, 15, 35} {
		if d <= time.Duration(most)*time.Second {
			return fmt.Sprintf("%d s", most)
		}
	}
	return fmt.Sprintf("%d s", (int(d.Seconds())+14)/15*15)
}

// walkEntry is the name of the report entries that hold lines of the table.
const walkEntry = "line of the walk"

var _ = Describe("The walk through all states:", func() {
	for _, t := range tours {
		for _, name := range slices.Sorted(maps.Keys(t.walks)) {
			It(t.kind+": "+name, func() { AddReportEntry(walkEntry, t.play(name, t.walks[name]), ReportEntryVisibilityNever) })
		}
	}
})

// operationsPage shows the table between these marks.
const operationsPage, walkBegins, walkEnds = "../docs/operations.md", "<!-- the walk begins -->\n", "<!-- the walk ends -->\n"

const walkHead = "| object | state | `kubectl get` says | `kubectl describe` says | heals within |\n| --- | --- | --- | --- | --- |\n"

// A run of all with PNP_WALK=update writes the table into docs, one with PNP_WALK=print prints it.
var _ = ReportAfterSuite("The table of all states", func(report Report) {
	wants := os.Getenv("PNP_WALK")
	if wants == "" {
		return
	}
	lines, all := map[string]string{}, walkHead
	for _, spec := range report.SpecReports {
		for _, entry := range spec.ReportEntries {
			if entry.Name == walkEntry {
				lines[spec.LeafNodeText] = entry.StringRepresentation()
			}
		}
	}
	missing := 0
	for _, t := range tours {
		for _, name := range slices.Sorted(maps.Keys(t.walks)) {
			if line := lines[t.kind+": "+name]; line != "" {
				all += line + "\n"
			} else {
				missing++
			}
		}
	}
	if wants != "update" {
		fmt.Println(all)
		return
	}
	Expect(missing).To(BeZero(), "states that were not walked")
	page, err := os.ReadFile(operationsPage)
	Expect(err).NotTo(HaveOccurred())
	before, rest, _ := strings.Cut(string(page), walkBegins)
	_, after, found := strings.Cut(rest, walkEnds)
	Expect(found).To(BeTrue(), "%s has no %s", operationsPage, walkBegins)
	Expect(os.WriteFile(operationsPage, []byte(before+walkBegins+all+walkEnds+after), 0o600)).To(Succeed())
})

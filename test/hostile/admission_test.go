package hostile

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

// dtdlContext is that of DTDL v3.
const dtdlContext = "dtmi:dtdl:context;3"

var admissionAttacks = []attack{
	{name: "model-bomb", title: "a DeviceModel of 170 KB that inherits two million contents, four dry-runs and one for good", quick: true, play: modelBomb},
	{name: "model-shapes", title: "eight different models at once that are small to send and large to hold", play: modelShapes},
	{name: "webhook-post", title: "reviews of 6.8 MB from someone without a credential, four at a time", quick: true, play: webhookPost},
	{name: "bad-keys", title: "twelve dry-runs at once with 110,000 names that are not allowed", quick: true, play: badKeys},
	{name: "status-forging", title: "status written by the tenant, at creation and by itself", quick: true, play: forgeStatus},
}

// inheritance is a valid model: base interfaces with commands, and interfaces that each extend some of those.
func inheritance(bases, commands, heirs, extended int) string {
	base := func(i int) string {
		contents := listed(commands, func(c int) string { return fmt.Sprintf(`{"@type":"Command","name":"c%dx%d"}`, i, c) })
		return interfaceOf("b", i, `"contents":[`+contents+`]`)
	}
	heir := func(i int) string {
		return interfaceOf("x", i, `"extends":[`+listed(extended, func(e int) string { return fmt.Sprintf(`"dtmi:b%d;1"`, (i+e)%bases) })+`]`)
	}
	return "[" + listed(bases, base) + "," + listed(heirs, heir) + "]"
}

func interfaceOf(name string, i int, rest string) string {
	return fmt.Sprintf(`{"@context":%q,"@id":"dtmi:%s%d;1","@type":"Interface",%s}`, dtdlContext, name, i, rest)
}

// listed are n elements with commas between them.
func listed(n int, element func(i int) string) string {
	all := make([]string, n)
	for i := range all {
		all[i] = element(i)
	}
	return strings.Join(all, ",")
}

// bomb is small to send: each of 950 interfaces inherits 2,300 commands.
func bomb() string { return inheritance(1, 2300, 950, 1) }

// flat is a list of numbers, which takes many times its size once it is decoded.
func flat(size int) string { return "[" + strings.Repeat("0,", size/2-1) + "0]" }

func modelOf(name, dtdl string) *v1alpha1.DeviceModel {
	return &v1alpha1.DeviceModel{ObjectMeta: inTheirs(name), Spec: v1alpha1.DeviceModelSpec{DTDL: &apiextensionsv1.JSON{Raw: []byte(dtdl)}}}
}

// awaitAdmission returns once the API server asks the operator: attacks at admission are none before that.
func (h *hostileRun) awaitAdmission(ctx context.Context) error {
	late := func() error {
		return harness.Missed("the webhook", "refuses a wrong model within a minute", "lets it in")
	}
	return harness.PollEvery(ctx, 200*time.Millisecond, time.Minute, late, func(ctx context.Context) (bool, error) {
		err := h.attacker.Create(ctx, modelOf("wrong", `{"@id":"none"}`), client.DryRunAll)
		return isDenied(err), nil
	})
}

// isDenied is whether a webhook said no.
func isDenied(err error) bool {
	return err != nil && strings.Contains(err.Error(), "denied the request")
}

func modelBomb(ctx context.Context, h *hostileRun) (string, error) {
	if err := h.awaitAdmission(ctx); err != nil {
		return "", err
	}
	tries := together(4, func(int) error { return h.attacker.Create(ctx, modelOf("bomb", bomb()), client.DryRunAll) })
	tries = append(tries, h.attacker.Create(ctx, modelOf("bomb", bomb())))
	return h.modelVerdict(ctx, "bomb", tries)
}

// modelVerdict wants a model refused at admission or, once it is stored, said to be unusable. Either has to say what bound it exceeds.
func (h *hostileRun) modelVerdict(ctx context.Context, name string, tries []error) (string, error) {
	denied := 0
	for _, err := range tries {
		if isDenied(err) {
			denied++
		}
	}
	last := tries[len(tries)-1]
	if isDenied(last) {
		return fmt.Sprintf("%d of %d refused: %s", denied, len(tries), excerpt(last.Error())), isBound(last.Error())
	}
	if last != nil {
		return "", last
	}
	message, err := h.notUsable(ctx, name)
	if err == nil {
		err = isBound(message)
	}
	return fmt.Sprintf("%d of %d refused, then in status: %s", denied, len(tries), excerpt(message)), err
}

// isBound wants a refusal to name a bound and its number.
func isBound(message string) error {
	if strings.ContainsAny(message, "0123456789") {
		return nil
	}
	return harness.Missed("the refusal of a model", "the bound that it exceeds", excerpt(message))
}

// excerpt is what of a long message fits into a line.
func excerpt(text string) string {
	text = strings.TrimPrefix(strings.Join(strings.Fields(text), " "), "admission webhook ")
	if runes := []rune(text); len(runes) > 160 {
		return string(runes[:160]) + "…"
	}
	return text
}

// notUsable waits until status of a DeviceModel says that it cannot be used, and returns why.
func (h *hostileRun) notUsable(ctx context.Context, name string) (string, error) {
	var model v1alpha1.DeviceModel
	late := func() error {
		return harness.Missed("DeviceModel "+name, "Ready=False within "+withinPromise.String(), said(model.Status.Conditions))
	}
	message := ""
	err := harness.PollEvery(ctx, 200*time.Millisecond, withinPromise, late, func(ctx context.Context) (bool, error) {
		if err := h.Client.Get(ctx, types.NamespacedName{Namespace: attackerNamespace, Name: name}, &model); err != nil {
			return false, err
		}
		for _, c := range model.Status.Conditions {
			if c.Type == v1alpha1.ConditionReady && c.Status == metav1.ConditionFalse {
				message = c.Message
				return true, nil
			}
		}
		return false, nil
	})
	return message, err
}

// shapes are models that take much memory in different ways.
func shapes() []string {
	var all []string
	for i := range 2 {
		all = append(all,
			inheritance(40+i, 60, 300, 30),
			flat(1_300_000+2*i),
			interfaceOf("a", i, `"contents":[`+strings.Repeat("{},", 400_000)+"{}]"),
			"["+strings.Repeat("[],", 400_000+i)+"[]]")
	}
	return all
}

func modelShapes(ctx context.Context, h *hostileRun) (string, error) {
	if err := h.awaitAdmission(ctx); err != nil {
		return "", err
	}
	all := shapes()
	errs := together(len(all), func(i int) error { return h.attacker.Create(ctx, modelOf(fmt.Sprintf("shape-%d", i), all[i])) })
	refused := 0
	for i, err := range errs {
		switch {
		case isDenied(err) || apierrors.IsRequestEntityTooLargeError(err) || apierrors.IsInvalid(err):
			refused++
		case err != nil:
			return "", fmt.Errorf("shape %d: %w", i, err)
		default:
			if _, err := h.notUsable(ctx, fmt.Sprintf("shape-%d", i)); err != nil {
				return "", err
			}
		}
	}
	return fmt.Sprintf("%d of %d refused at admission, the others in status", refused, len(all)), nil
}

// review is an AdmissionReview as the API server would send it.
func review(dtdl string) string {
	return `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1","name":"x","namespace":"y","operation":"CREATE","userInfo":{},` +
		`"kind":{"group":"iot.pnp-operator.io","version":"v1alpha1","kind":"DeviceModel"},"resource":{"group":"iot.pnp-operator.io","version":"v1alpha1","resource":"devicemodels"},` +
		`"object":{"apiVersion":"iot.pnp-operator.io/v1alpha1","kind":"DeviceModel","metadata":{"name":"x","namespace":"y"},"spec":{"modelID":"dtmi:a;1","dtdl":` + dtdl + `}}}}`
}

func webhookPost(ctx context.Context, h *hostileRun) (string, error) {
	if err := h.awaitAdmission(ctx); err != nil {
		return "", err
	}
	anyone := &http.Client{Timeout: withinPromise, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // an attacker does not check whom they attack
	defer anyone.CloseIdleConnections()
	answers := map[string]int{}
	for _, body := range []string{review(flat(6_800_000)), review(flat(3_300_000)), review(bomb())} {
		got := make([]string, 4)
		together(len(got), func(i int) error {
			got[i] = h.post(ctx, anyone, body)
			return nil
		})
		for _, answer := range got {
			answers[answer]++
		}
	}
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	return fmt.Sprint("answers: ", answers), h.awaitAdmission(ctx)
}

// post sends a review, and returns in a word what came back.
func (h *hostileRun) post(ctx context.Context, anyone *http.Client, body string) string {
	url := "https://localhost:" + h.operator.webhook + "/validate-iot-pnp-operator-io-v1alpha1-devicemodel"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader([]byte(body)))
	if err != nil {
		return err.Error()
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := anyone.Do(request)
	if err != nil {
		return "no answer"
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	switch {
	case err != nil:
		return "half an answer"
	case response.StatusCode != http.StatusOK:
		return response.Status
	case bytes.Contains(answer, []byte(`"allowed":false`)):
		return "refused"
	}
	return "allowed"
}

// longestDenial is as much as a denial may hold, in bytes: the operator, the API server and the user's terminal all hold it.
const longestDenial = 64 << 10

func badKeys(ctx context.Context, h *hostileRun) (string, error) {
	if err := h.awaitAdmission(ctx); err != nil {
		return "", err
	}
	members := make([]member, 110_000)
	for i := range members {
		members[i] = member{fmt.Sprintf("k$%d", i), "0"}
	}
	raw := objectOf(members)
	errs := together(12, func(i int) error {
		return h.attacker.Create(ctx, deviceWith(fmt.Sprintf("bad-keys-%d", i), raw), client.DryRunAll)
	})
	errs = append(errs, h.attacker.Create(ctx, deviceWith("bad-keys", raw)))
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	denied, longest := 0, 0
	for _, err := range errs {
		if isDenied(err) {
			denied++
		}
		longest = max(longest, len(fmt.Sprint(err)))
	}
	if longest > longestDenial {
		return "", harness.Missed("the longest denial", fmt.Sprintf("at most %d bytes", longestDenial), fmt.Sprintf("%d bytes, %d of %d denied", longest, denied, len(errs)))
	}
	answer := fmt.Sprintf("%d of %d refused, in %d bytes at most", denied, len(errs), longest)
	if last := errs[len(errs)-1]; last != nil {
		return answer, orDenied(last)
	}
	return answer + ", then in status", h.untilNotReady(ctx, "bad-keys")
}

// orDenied is an error, unless it is that of a webhook.
func orDenied(err error) error {
	if isDenied(err) {
		return nil
	}
	return err
}

// untilNotReady waits until status of a PnPDevice says that it is not Ready, in a message of a few sentences.
func (h *hostileRun) untilNotReady(ctx context.Context, name string) error {
	var device *v1alpha1.PnPDevice
	late := func() error { return harness.Missed("status of "+name, "Ready=False", harness.DescribeDevice(device)) }
	return harness.PollEvery(ctx, 200*time.Millisecond, withinPromise, late, func(ctx context.Context) (_ bool, err error) {
		if device, err = h.theirDevice(ctx, name); err != nil {
			return false, err
		}
		ready := apimeta.FindStatusCondition(device.Status.Conditions, v1alpha1.ConditionReady)
		return ready != nil && ready.Status == metav1.ConditionFalse && len(ready.Message) <= longestDenial, nil
	})
}

func deviceWith(name, properties string) *v1alpha1.PnPDevice {
	device := deviceOf(name)
	device.Spec.Properties = &apiextensionsv1.JSON{Raw: []byte(properties)}
	return device
}

func forgeStatus(ctx context.Context, h *hostileRun) (string, error) {
	if err := h.addTheirHub(ctx, nil); err != nil {
		return "", err
	}
	forged := deviceOf("forged") // which the hub does not have
	forged.Status.Properties = []v1alpha1.PropertyStatus{{Name: "foreign", State: v1alpha1.PropertyState("Acknowledged"), Owned: true}}
	forged.Status.Summary = "forged"
	if err := h.createAll(ctx, forged); err != nil {
		return "", err
	}
	patch := client.RawPatch(types.MergePatchType, []byte(`{"status":{"summary":"forged"}}`))
	ways := map[string]error{
		"patch of status":  h.attacker.Status().Patch(ctx, deviceOf("forged"), patch),
		"update of status": h.attacker.Status().Update(ctx, forged),
	}
	for way, err := range ways {
		if !apierrors.IsForbidden(err) {
			return "", harness.Missed(way, "Forbidden", fmt.Sprint(err))
		}
	}
	if err := h.attacker.Patch(ctx, deviceOf("forged"), patch); err != nil {
		return "", err
	}
	device, err := h.theirDevice(ctx, "forged")
	if err != nil {
		return "", err
	}
	if device.Status.Summary == "forged" || slices.ContainsFunc(device.Status.Properties, func(p v1alpha1.PropertyStatus) bool { return p.Name == "foreign" }) {
		return "", harness.Missed("status of a PnPDevice that its tenant wrote", "the operator's", device.Status.Summary)
	}
	return "dropped at creation and by patch, forbidden by itself", nil
}

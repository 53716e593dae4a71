package engines

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

// The layout of docs/gitops.md.
const (
	recipeFolder = "config/recipes/gitops"
	modelsIn     = "models"
	hubIn        = "hub"
	devicesIn    = "devices"
	commandsIn   = "commands"
)

var folders = []string{modelsIn, hubIn, devicesIn, commandsIn}

// site is a site in the layout of the docs: a repository, a namespace, an IoTHub and devices of its
// own, and what its engine applies them with.
type site struct {
	*gitops
	repository
	name, engine string
	// timeout replaces that of the recipe's Kustomizations, if it is not empty.
	timeout string
	// failed is why the site did not come up.
	failed error
}

// names leads the names of the recipe to those of the site. Device ids are names of PnPDevices.
func (s *site) names() *strings.Replacer {
	return strings.NewReplacer("line-1-thermostat", s.device(1), "line-2-thermostat", s.device(2), "factory", s.name,
		"name: fleet\n", "name: "+s.name+"\n")
}

// device is the name and the id of a device of the recipe. The first one has to acknowledge; of the
// second one nobody waits for an answer.
func (s *site) device(number int) string { return fmt.Sprintf("%s-line-%d", s.name, number) }

func (s *site) hubName() string { return s.name + "-hub" }

// in is a file of the site, in one of its folders.
func (s *site) in(folder, file string) string { return s.name + "/" + folder + "/" + file }

// line is the file of a device of the recipe.
func (s *site) line(number int) string { return s.in(devicesIn, fmt.Sprintf("line-%d.yaml", number)) }

// open makes the sites of scenarios: repositories, devices, namespaces with their Secrets, and the
// objects of the engines; then it waits until all is in place. Each site takes one commit. A site
// that does not come up fails its scenario only.
func (g *gitops) open(ctx context.Context, scenarios []engineScenario) (map[string]*site, error) {
	sites := map[string]*site{}
	for _, one := range scenarios {
		s, err := g.newSite(ctx, one)
		if err != nil {
			return nil, fmt.Errorf("making the site of scenario %s: %w", one.name, err)
		}
		sites[one.name] = s
	}
	began := time.Now()
	for _, one := range scenarios {
		if err := lead[one.engine](sites[one.name], ctx); err != nil {
			return nil, err
		}
	}
	up := 0
	for _, one := range scenarios {
		s := sites[one.name]
		if s.failed = arrive[one.engine](s, ctx); s.failed == nil {
			up++
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	g.Out.Sayf("%d of %d sites came up from one commit each, everything at once: %d ms", up, len(sites), time.Since(began).Milliseconds())
	return sites, nil
}

// lead gives the objects of an engine to the API server; arrive waits for what they apply.
var (
	lead = map[string]func(*site, context.Context) error{
		flux: (*site).leadFlux, argoCD: (*site).leadArgoCD,
	}
	arrive = map[string]func(*site, context.Context) error{
		flux: (*site).arriveByFlux, argoCD: (*site).arriveByArgoCD,
	}
)

func (g *gitops) newSite(ctx context.Context, one engineScenario) (*site, error) {
	r, err := g.newRepository(ctx, one.name)
	if err != nil {
		return nil, err
	}
	s := &site{gitops: g, repository: r, name: one.name, engine: one.engine}
	if err := s.copyRecipe(); err != nil {
		return nil, err
	}
	if one.shape != nil {
		if err := one.shape(s); err != nil {
			return nil, err
		}
	}
	// A consumer group has one reader, and each IoTHub reads.
	if err := errors.Join(s.Hub.AddConsumerGroup(ctx, s.name), s.connectAll(ctx), s.addSecret(ctx)); err != nil {
		return nil, err
	}
	_, err = s.repository.commit(ctx, "The site")
	return s, err
}

// copyRecipe copies the layout of the docs, under the names of the site.
func (s *site) copyRecipe() error {
	from := s.Path(recipeFolder + "/fleet/factory")
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		content := s.names().Replace(string(data))
		if filepath.Base(path) == "iothub.yaml" {
			if content, err = s.leadHub(content); err != nil {
				return err
			}
		}
		return s.write(s.name+"/"+filepath.ToSlash(name), content)
	})
}

// leadHub leads the IoTHub of the recipe to the simulator.
func (s *site) leadHub(manifest string) (string, error) {
	var hub map[string]any
	if err := yaml.Unmarshal([]byte(manifest), &hub); err != nil {
		return "", err
	}
	ca, err := os.ReadFile(s.File(harness.HubCAFile))
	if err != nil {
		return "", fmt.Errorf("reading the hub's CA: %w", err)
	}
	spec, ok := hub["spec"].(map[string]any)
	if !ok {
		return "", errors.New("the IoTHub of the recipe has no spec")
	}
	maps.Copy(spec, map[string]any{
		"hostName": s.HubEnv["HUB_HOST_NAME"], "endpoint": s.HubEnv["HUB_ENDPOINT"], "caBundle": string(ca),
		"sweepIntervalSeconds": harness.SweepSeconds, "requestBudget": harness.AmpleBudget,
		"events": map[string]any{
			"connectionStringSecretRef": map[string]any{"name": s.hubName(), "key": harness.EventsKey},
			"endpoint":                  s.HubEnv["EVENTHUB_ADDRESS"], "caBundle": string(ca), "consumerGroup": s.name,
		},
	})
	data, err := yaml.Marshal(hub)
	return string(data), err
}

// pnpDevice finds the name of a PnPDevice in a manifest.
var pnpDevice = regexp.MustCompile(`(?m)^kind: PnPDevice\nmetadata:\n(?:.*\n)*?  name: (\S+)$`)

// connectAll connects a virtual device for each PnPDevice in Git. One that declares no modelID has
// no model, and takes any property.
func (s *site) connectAll(ctx context.Context) error {
	files, err := s.filesOf(devicesIn)
	if err != nil {
		return err
	}
	for _, file := range files {
		manifest, err := s.read(s.in(devicesIn, file))
		if err != nil {
			return err
		}
		found := pnpDevice.FindStringSubmatch(manifest)
		if found == nil {
			continue
		}
		var spec simulator.Spec
		if strings.Contains(manifest, "  modelID: "+simulator.Thermostat+"\n") {
			spec.Model = simulator.Thermostat
		}
		if err := s.Hub.AddDevice(ctx, found[1], spec); err != nil {
			return err
		}
	}
	return nil
}

// addSecret makes the namespace with the Secret, which is not in Git.
func (s *site) addSecret(ctx context.Context) error {
	err := s.client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.name}})
	if err != nil {
		return err
	}
	return s.client.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.name, Name: s.hubName()},
		StringData: map[string]string{harness.SecretKey: s.HubEnv["HUB_CONNECTION_STRING"], harness.EventsKey: s.HubEnv["EVENTHUB_CONNECTION_STRING"]},
	})
}

// manifests are the documents of a file of the recipe, under the names of the site.
func (s *site) manifests(name string) ([]map[string]any, error) {
	data, err := os.ReadFile(s.Path(recipeFolder + "/" + name))
	if err != nil {
		return nil, err
	}
	var all []map[string]any
	for document := range bytes.SplitSeq([]byte(s.names().Replace(string(data))), []byte("\n---\n")) {
		var object map[string]any
		if err := yaml.Unmarshal(document, &object); err != nil {
			return nil, fmt.Errorf("decoding %s: %w", name, err)
		}
		all = append(all, object)
	}
	return all, nil
}

// give applies objects of an engine.
func (s *site) give(ctx context.Context, objects []map[string]any) error {
	list, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "List", "items": objects})
	if err != nil {
		return err
	}
	_, err = s.Kubectl.Output(ctx, string(list), "apply", "--server-side", "-f", "-")
	return err
}

// commit commits all files as they are, pushes them, and has the engine look at Git.
func (s *site) commit(ctx context.Context, message string) (commit, error) {
	c, err := s.repository.commit(ctx, message)
	if err != nil {
		return c, err
	}
	if s.engine == flux {
		_, err := s.request(ctx, gitRepositoryKind, s.name)
		return c, err
	}
	for _, folder := range folders {
		if err := s.refreshArgoCD(ctx, folder, "normal"); err != nil {
			return c, err
		}
	}
	return c, nil
}

// remove takes a file out of the repository and out of its kustomization.yaml.
func (s *site) remove(folder, file string) error {
	if err := os.Remove(s.file(s.in(folder, file))); err != nil {
		return err
	}
	return s.replace(s.in(folder, "kustomization.yaml"), "- "+file+"\n", "")
}

// add is the opposite of remove.
func (s *site) add(folder, file, content string) error {
	if err := s.write(s.in(folder, file), content); err != nil {
		return err
	}
	name := s.in(folder, "kustomization.yaml")
	list, err := s.read(name)
	if err != nil {
		return err
	}
	return s.write(name, list+"- "+file+"\n")
}

// pnp returns a PnPDevice, nil if there is none.
func (s *site) pnp(ctx context.Context, name string) (*v1alpha1.PnPDevice, error) {
	var device v1alpha1.PnPDevice
	err := s.client.Get(ctx, s.key(name), &device)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &device, nil
}

func (s *site) key(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: s.name, Name: name}
}

// until waits for something that look tells of in words.
func (s *site) until(ctx context.Context, what, wanted string, look func(context.Context) (got string, ok bool, err error)) (time.Time, error) {
	return s.untilWithin(ctx, withinEngine, what, wanted, look)
}

func (s *site) untilWithin(ctx context.Context, within time.Duration, what, wanted string, look func(context.Context) (got string, ok bool, err error)) (time.Time, error) {
	got, at := "nothing", time.Time{}
	late := func() error { return harness.Missed(what, wanted, got+", after "+within.String()) }
	err := harness.PollEvery(ctx, 50*time.Millisecond, within, late, func(ctx context.Context) (bool, error) {
		text, ok, err := look(ctx)
		if err != nil {
			return false, err
		}
		got, at = text, time.Now()
		return ok, nil
	})
	return at, err
}

// untilHeld waits until the hub holds a desired value of a device; nil means none.
func (s *site) untilHeld(ctx context.Context, device, property string, want any) (time.Time, error) {
	expected := "nothing"
	if want != nil {
		expected = harness.AsJSON(want)
	}
	return s.until(ctx, property+" of "+device+" at the hub", expected, func(ctx context.Context) (string, bool, error) {
		return s.holds(ctx, device, property, want)
	})
}

// holds reports whether the hub holds a value.
func (s *site) holds(ctx context.Context, device, property string, want any) (got string, ok bool, err error) {
	value, found, err := s.Desired(ctx, device, property)
	switch {
	case err != nil:
		return "", false, err
	case !found:
		return "nothing", want == nil, nil
	}
	return harness.AsJSON(value), want != nil && harness.AsJSON(value) == harness.AsJSON(want), nil
}

// untilReady waits until a PnPDevice is Ready with what is declared now.
func (s *site) untilReady(ctx context.Context, name string) (time.Time, error) {
	return s.until(ctx, "PnPDevice "+name, "Ready", func(ctx context.Context) (string, bool, error) {
		device, err := s.pnp(ctx, name)
		if err != nil || device == nil {
			return "no such PnPDevice", false, err
		}
		return harness.DescribeDevice(device), harness.IsReady(device), nil
	})
}

// untilNotReady waits until a PnPDevice is not Ready, for a reason.
func (s *site) untilNotReady(ctx context.Context, name, reason string) (time.Time, error) {
	return s.until(ctx, "PnPDevice "+name, "not Ready: "+reason, func(ctx context.Context) (string, bool, error) {
		device, err := s.pnp(ctx, name)
		if err != nil || device == nil {
			return "no such PnPDevice", false, err
		}
		return harness.DescribeDevice(device), harness.IsNotReady(device, reason), nil
	})
}

// ran is how many commands a device was given.
func (s *site) ran(ctx context.Context, device string) (int, error) {
	commands, err := s.Hub.Commands(ctx, device)
	return len(commands), err
}

// untilRan waits until a device was given so many commands.
func (s *site) untilRan(ctx context.Context, device string, want int) (time.Time, error) {
	return s.until(ctx, "commands that "+device+" ran", fmt.Sprint(want), func(ctx context.Context) (string, bool, error) {
		n, err := s.ran(ctx, device)
		return fmt.Sprint(n), n == want, err
	})
}

// events are the messages of the site's Events with a reason.
func (s *site) events(ctx context.Context, reason string) ([]string, error) {
	var list corev1.EventList
	if err := s.client.List(ctx, &list, client.InNamespace(s.name)); err != nil {
		return nil, err
	}
	var messages []string
	for _, e := range list.Items {
		if e.Reason == reason {
			messages = append(messages, e.InvolvedObject.Name+": "+e.Message)
		}
	}
	return messages, nil
}

// snapshot is every object of the operator's kinds with its resourceVersion, and the calls that the
// hub had about the site's devices.
func (s *site) snapshot(ctx context.Context) ([]string, error) {
	var lines []string
	for _, list := range []client.ObjectList{&v1alpha1.PnPDeviceList{}, &v1alpha1.DeviceCommandList{}, &v1alpha1.DeviceModelList{}} {
		if err := s.client.List(ctx, list, client.InNamespace(s.name)); err != nil {
			return nil, err
		}
		lines = append(lines, versions(list)...)
	}
	for number := 1; number <= 2; number++ {
		counts, err := s.Hub.CallCounts(ctx, s.device(number))
		if err != nil {
			return nil, err
		}
		lines = append(lines, fmt.Sprintf("calls of the hub about %s: %v", s.device(number), counts))
	}
	slices.Sort(lines)
	return lines, nil
}

// versions are the names of the objects of a list with their resourceVersions.
func versions(list client.ObjectList) []string {
	var lines []string
	say := func(kind string, m metav1.ObjectMeta) {
		lines = append(lines, fmt.Sprintf("%s %s: resourceVersion %s, generation %d", kind, m.Name, m.ResourceVersion, m.Generation))
	}
	switch list := list.(type) {
	case *v1alpha1.PnPDeviceList:
		for _, o := range list.Items {
			say("PnPDevice", o.ObjectMeta)
		}
	case *v1alpha1.DeviceCommandList:
		for _, o := range list.Items {
			say("DeviceCommand", o.ObjectMeta)
		}
	case *v1alpha1.DeviceModelList:
		for _, o := range list.Items {
			say("DeviceModel", o.ObjectMeta)
		}
	}
	return lines
}

// countDevices is how many PnPDevices the site has, those that are being deleted included.
func (s *site) countDevices(ctx context.Context) (int, error) {
	var list v1alpha1.PnPDeviceList
	err := s.client.List(ctx, &list, client.InNamespace(s.name))
	return len(list.Items), err
}

// filesOf are the manifests of a folder.
func (s *site) filesOf(folder string) ([]string, error) {
	paths, err := filepath.Glob(s.file(s.in(folder, "*.yaml")))
	var names []string
	for _, path := range paths {
		if name := filepath.Base(path); name != "kustomization.yaml" {
			names = append(names, name)
		}
	}
	return names, err
}

// docs runs the commands of a page: the nth block of a section, for the site instead of all
// namespaces.
func (s *site) docs(ctx context.Context, page, section string, n int) error {
	script, err := s.readDocs(page, section, n)
	if err != nil {
		return err
	}
	return s.bash(ctx, script)
}

func (s *site) readDocs(page, section string, n int) (string, error) {
	data, err := os.ReadFile(s.Path("docs/" + page))
	if err != nil {
		return "", err
	}
	script, err := consoleBlock(string(data), section, n)
	if err != nil {
		return "", fmt.Errorf("docs/%s: %w", page, err)
	}
	return strings.ReplaceAll(script, " -A ", " --namespace "+s.name+" "), nil
}

// bash runs a script with kubectl at hand.
func (s *site) bash(ctx context.Context, script string) error {
	cmd := harness.NewCommand(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = s.Root
	cmd.Env = slices.Concat(s.Kubectl.Command(ctx).Env, []string{finding(filepath.Dir(s.Kubectl.Program))})
	out, err := cmd.CombinedOutput()
	if err := harness.CauseOf(ctx, err); err != nil {
		return fmt.Errorf("running\n%s\n%w: %s", script, err, out)
	}
	return nil
}

// consoleBlock is the nth block of commands below a heading of a page.
func consoleBlock(page, heading string, n int) (string, error) {
	at := regexp.MustCompile(`(?m)^#+ ` + regexp.QuoteMeta(heading) + `$`).FindStringIndex(page)
	if at == nil {
		return "", fmt.Errorf("there is no heading %q", heading)
	}
	section := page[at[1]:]
	if next := regexp.MustCompile(`(?m)^#+ `).FindStringIndex(section); next != nil {
		section = section[:next[0]]
	}
	blocks := regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(section, -1)
	if len(blocks) < n {
		return "", fmt.Errorf("section %q has %d blocks of commands, want at least %d", heading, len(blocks), n)
	}
	return blocks[n-1][1], nil
}

// arrive waits until all folders of the site have arrived at its first commit.
func (s *site) arrive(ctx context.Context, has func(first commit, folder string) error) error {
	first, err := s.head(ctx)
	if err != nil {
		return err
	}
	for _, folder := range folders {
		if err := has(first, folder); err != nil {
			return err
		}
	}
	return nil
}

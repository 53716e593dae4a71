package validate

import (
	"context"
	"fmt"
	"io/fs"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"
)

// kind is what the API server checks in objects of one kind: it is its own code that checks here.
type kind struct {
	structural *schema.Structural
	schema     validation.SchemaValidator
	rules      *cel.Validator
}

// kinds reads CustomResourceDefinitions, by kind. Each has one version.
func kinds(definitions fs.FS) (map[string]*kind, error) {
	names, err := fs.Glob(definitions, "bases/*.yaml")
	if err != nil {
		return nil, err
	}
	all := map[string]*kind{}
	for _, name := range names {
		raw, err := fs.ReadFile(definitions, name)
		if err != nil {
			return nil, err
		}
		var definition apiextensionsv1.CustomResourceDefinition
		if err := yaml.Unmarshal(raw, &definition); err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
		if all[definition.Spec.Names.Kind], err = newKind(definition.Spec.Versions[0].Schema.OpenAPIV3Schema); err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
	}
	return all, nil
}

func newKind(props *apiextensionsv1.JSONSchemaProps) (*kind, error) {
	internal := &apiextensions.JSONSchemaProps{}
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(props, internal, nil); err != nil {
		return nil, err
	}
	structural, err := schema.NewStructural(internal)
	if err != nil {
		return nil, err
	}
	validator, _, err := validation.NewSchemaValidator(internal)
	if err != nil {
		return nil, err
	}
	return &kind{structural, validator, cel.NewValidator(structural, true, celconfig.PerCallLimit)}, nil
}

// check lists what the API server would refuse in an object, and fills in its defaults.
func (k *kind) check(object map[string]any) []string {
	var found []string
	unknown := pruning.PruneWithOptions(object, k.structural, true, schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	for _, path := range unknown {
		found = append(found, fmt.Sprintf("unknown field %q", path))
	}
	defaulting.PruneNonNullableNullsWithoutDefaults(object, k.structural)
	defaulting.Default(object, k.structural)
	errors := validation.ValidateCustomResource(nil, object, k.schema)
	errors = append(errors, listtype.ValidateListSetsAndMaps(nil, k.structural, object)...)
	if len(errors) == 0 && k.rules != nil {
		broken, _ := k.rules.Validate(context.Background(), nil, k.structural, object, nil, celconfig.RuntimeCELCostBudget)
		errors = append(errors, broken...)
	}
	for _, e := range errors {
		found = append(found, e.Error())
	}
	return found
}

package dtdl

// limits holds the differences between versions of DTDL. Source: DTDL v2, v3 and v4, section "Limits"
// and the tables of metamodel classes. 0 means no limit.
type limits struct {
	name        int
	displayName int

	contents     int // of an interface, inherited ones included
	extends      int // interfaces that one extends directly
	hierarchy    int // interfaces that one extends in all, counted once for every way to them
	extendsDepth int
	elements     int // of an interface's hierarchy
	bytes        int // of an interface's text

	fieldsMin, fieldsMax         int
	enumValuesMin, enumValuesMax int
	relationshipProperties       int
	maxMultiplicity              int

	schemaDepth      int
	recursiveSchemas bool
	propertyArrays   bool
}

const (
	maxComment     = 512
	maxDescription = 512
)

// Versions of DTDL.
const (
	oldestVersion = 2
	newestVersion = 4
)

var versionLimits = [newestVersion + 1]limits{
	2: {
		name: 64, displayName: 64,
		contents: 300, extends: 2, extendsDepth: 10,
		fieldsMin: 1, fieldsMax: 30, enumValuesMin: 1, enumValuesMax: 100,
		relationshipProperties: 300, maxMultiplicity: 500,
		schemaDepth: 5,
	},
	3: {
		name: 512, displayName: 512,
		hierarchy: 1024, extendsDepth: 10, elements: 100_000, bytes: 1 << 20,
		schemaDepth: 5, propertyArrays: true,
	},
	4: {
		name: 512, displayName: 512,
		hierarchy: 1024, extendsDepth: 12, elements: 100_000, bytes: 1 << 20,
		schemaDepth: 8, propertyArrays: true, recursiveSchemas: true,
	},
}

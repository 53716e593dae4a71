package query

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

const sample = `{"deviceId":"d1","version":7,"connectionState":"Connected",
	"tags":{"location":{"region":"US","plant":"Redmond43"},"floor":3,"ratio":0.5,"none":null,"on":true,"list":[1,"a"],"odd key":1,"AND":2,"text":"it's \"q\""},
	"properties":{"desired":{"$version":4},"reported":{"t":21.5,"$metadata":{"t":{"$lastUpdated":"2026-01-02T00:00:00Z"}}}}}`

// Rows follow "IoT Hub query language", expressions and conditions.
func TestWhere(t *testing.T) {
	tests := map[string]struct {
		where string
		want  bool
	}{
		"equal texts":                        {`tags.location.region = 'US'`, true},
		"double quotes":                      {`tags.location.region = "US"`, true},
		"comparison of texts has case":       {`tags.location.region = 'us'`, false},
		"keywords have none":                 {`tags.floor in [3] aNd NoT false`, true},
		"not equal":                          {`tags.floor != 4`, true},
		"not equal, the other way":           {`tags.floor <> 3`, false},
		"less":                               {`tags.floor < 4`, true},
		"less or equal":                      {`tags.floor <= 3`, true},
		"greater":                            {`tags.floor > 3`, false},
		"greater or equal":                   {`tags.floor >= 3`, true},
		"texts have an order":                {`properties.reported.$metadata.t.$lastUpdated < '2026-01-03'`, true},
		"another type is not equal":          {`tags.floor = '3'`, false},
		"nor is it unequal":                  {`tags.floor != '3'`, false},
		"an absent attribute equals nothing": {`tags.absent = 1`, false},
		"and differs from nothing":           {`tags.absent != 1`, false},
		"NOT of undefined is not true":       {`NOT tags.absent = 1`, false},
		"undefined OR true":                  {`tags.absent = 1 OR true`, true},
		"undefined AND true":                 {`tags.absent = 1 AND true`, false},
		"null equals null":                   {`tags.none = null`, true},
		"nothing equals undefined":           {`tags.absent = undefined`, false},
		"ARRAY_CONTAINS of an element":       {`array_contains(tags.list, 'a')`, true},
		"ARRAY_CONTAINS of another":          {`ARRAY_CONTAINS(tags.list, 'x')`, false},
		"ARRAY_CONTAINS of nothing":          {`NOT ARRAY_CONTAINS(tags.absent, 'x')`, false},
		"IS_DEFINED of a value":              {`IS_DEFINED(tags.floor)`, true},
		"IS_DEFINED of null":                 {`is_defined(tags.none)`, true},
		"IS_DEFINED of nothing":              {`IS_DEFINED(tags.absent)`, false},
		"IS_DEFINED of an object":            {`IS_DEFINED(tags.location)`, true},
		"IN":                                 {`tags.location.plant IN ['Redmond42', 'Redmond43']`, true},
		"IN with other types":                {`tags.floor IN ['3', 3]`, true},
		"IN with null":                       {`tags.none IN [null, 1]`, true},
		"IN with undefined":                  {`tags.floor IN [undefined, 4] OR tags.absent IN [undefined]`, false},
		"IN with an expression":              {`tags.floor IN [tags.absent, 1 + 2]`, true},
		"an object is IN nothing":            {`tags.location IN ['US'] OR tags.list IN [1, 'a']`, false},
		"NIN with other types":               {`tags.floor NIN ['3']`, true},
		"NOT IN":                             {`NOT tags.floor IN [1, 3]`, false},
		"NOT IS_DEFINED of a nested tag":     {`NOT IS_DEFINED(tags.location.line)`, true},
		"an object is not unequal":           {`tags.location != 'US'`, false},
		"null is not unequal to a number":    {`tags.none != 1`, false},
		"a text cannot end the query":        {`tags.text = 'x\' OR true OR \'' OR false`, false},
		"IN nothing":                         {`tags.floor IN []`, false},
		"IN an attribute":                    {`'a' IN tags.list`, true},
		"NIN":                                {`tags.floor NIN [1, 2]`, true},
		"NIN of nothing":                     {`tags.absent NIN [1]`, false},
		"IN with an absent attribute":        {`tags.absent IN [1]`, false},
		"a boolean attribute":                {`tags.on`, true},
		"a number is not true":               {`tags.floor`, false},
		"a text is not true":                 {`'true'`, false},
		"sum before comparison":              {`tags.floor + 1 = 4`, true},
		"product before sum":                 {`1 + 2 * 3 = 7`, true},
		"parentheses":                        {`(1 + 2) * 3 = 9`, true},
		"subtraction from the left":          {`10 - 3 - 2 = 5`, true},
		"division":                           {`tags.floor / 2 = 1.5`, true},
		"modulo":                             {`tags.floor % 2 = 1`, true},
		"division by zero is undefined":      {`1 / 0 > 0 OR 1 / 0 <= 0`, false},
		"arithmetic on texts is undefined":   {`'a' + 'b' = 'ab'`, false},
		"negative numbers":                   {`-tags.floor < -2`, true},
		"hexadecimal numbers":                {`tags.floor = 0x3`, true},
		"exponents":                          {`tags.ratio = 5e-1`, true},
		"AND before OR":                      {`true OR false AND false`, true},
		"NOT before AND":                     {`NOT false AND true`, true},
		"NOT twice":                          {`NOT NOT true`, true},
		"objects are not compared":           {`tags.location = tags.location`, false},
		"attributes may be compared":         {`tags.floor < version`, true},
		"escapes in texts":                   {`tags.text = 'it\'s \"q\"'`, true},
		"unicode escapes":                    {`deviceId = '\u0064\u0031'`, true},
		"system properties":                  {`properties.desired.$version = 4`, true},
		"an attribute in brackets":           {`tags.[[odd key]] = 1`, true},
		"a keyword as an inner name":         {`tags.AND = 2`, true},
		"configurations are absent":          {`configurations.[[cfg-1]].status = 'Applied'`, false},
		"a path through a scalar":            {`tags.floor.x = 1`, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := parse(t, "SELECT * FROM devices WHERE "+test.where).Matches(row(t, sample)); got != test.want {
				t.Errorf("%s is %v", test.where, got)
			}
		})
	}
}

// What Microsoft does not say is a switch.
func TestDialects(t *testing.T) {
	tests := map[string]struct {
		where string
		in    Dialect
		want  bool
	}{
		"!= where the property is missing":         {`tags.absent != 1`, Dialect{MissingDiffers: true}, true},
		"<> where the property is missing":         {`1 <> tags.absent`, Dialect{MissingDiffers: true}, true},
		"NIN where the property is missing":        {`tags.absent NIN [1, 2]`, Dialect{MissingDiffers: true}, true},
		"= where the property is missing":          {`tags.absent = 1 OR tags.absent IN [1]`, Dialect{MissingDiffers: true}, false},
		"two missing properties":                   {`tags.absent != tags.gone`, Dialect{MissingDiffers: true}, false},
		"another type stays incomparable":          {`tags.floor != '3'`, Dialect{MissingDiffers: true}, false},
		"what is equal stays so":                   {`tags.floor != 3 OR tags.floor NIN [3]`, Dialect{MissingDiffers: true}, false},
		"metadata":                                 {`IS_DEFINED(properties.reported.$metadata.t.$lastUpdated)`, Dialect{}, true},
		"metadata, where conditions find none":     {`IS_DEFINED(properties.reported.$metadata.t.$lastUpdated)`, Dialect{NoMetadata: true}, false},
		"a comparison of metadata that is missing": {`properties.reported.$metadata.t.$lastUpdated > '2025'`, Dialect{NoMetadata: true}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := parse(t, "SELECT * FROM devices WHERE "+test.where).In(test.in).Matches(row(t, sample)); got != test.want {
				t.Errorf("%s is %v in %+v", test.where, got, test.in)
			}
		})
	}
}

// BenchmarkInOfAThousand shows what a list of ids costs a row.
func BenchmarkInOfAThousand(b *testing.B) {
	ids := make([]string, 1000)
	for i := range ids {
		ids[i] = fmt.Sprintf("'device-%d'", i)
	}
	q, err := Parse("SELECT * FROM devices WHERE deviceId IN [" + strings.Join(ids, ",") + "]")
	if err != nil {
		b.Fatal(err)
	}
	r := row(b, sample)
	for b.Loop() {
		q.Matches(r)
	}
}

func TestProject(t *testing.T) {
	tests := map[string]struct{ list, want string }{
		"attributes by their last segment":    {`deviceId, tags.location.region`, `{"deviceId":"d1","region":"US"}`},
		"aliases":                             {`tags.floor AS level`, `{"level":3}`},
		"absent attributes are left out":      {`deviceId, tags.absent`, `{"deviceId":"d1"}`},
		"null is not absent":                  {`tags.none`, `{"none":null}`},
		"objects":                             {`tags.location`, `{"location":{"region":"US","plant":"Redmond43"}}`},
		"an attribute called like a function": {`tags.floor AS count`, `{"count":3}`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			q := parse(t, "SELECT "+test.list+" FROM devices")
			if got := encode(q.Project(row(t, sample))); got != test.want {
				t.Errorf("got %s want %s", got, test.want)
			}
		})
	}
}

func TestAggregate(t *testing.T) {
	fleet := []string{
		`{"s":"ok","n":1,"k":{"z":1}}`, `{"s":"ok","n":4}`, `{"s":"bad","n":2}`, `{"n":"x"}`, `{"s":"ok"}`,
	}
	tests := map[string]struct {
		query string
		want  []string
	}{
		"the documented example": {`SELECT s AS status, COUNT() AS numberOfDevices FROM devices GROUP BY s`,
			[]string{`{"status":"ok","numberOfDevices":3}`, `{"status":"bad","numberOfDevices":1}`, `{"numberOfDevices":1}`}},
		"COUNT of all":             {`SELECT COUNT() AS n FROM devices`, []string{`{"n":5}`}},
		"COUNT(*)":                 {`SELECT count(*) FROM devices`, []string{`{"$1":5}`}},
		"WHERE comes first":        {`SELECT COUNT() AS n FROM devices WHERE s = 'ok'`, []string{`{"n":3}`}},
		"COUNT of nothing":         {`SELECT COUNT() AS n FROM devices WHERE false`, []string{`{"n":0}`}},
		"no group of nothing":      {`SELECT COUNT() AS n FROM devices WHERE false GROUP BY s`, []string{}},
		"numbers only are summed":  {`SELECT SUM(n) AS sum, AVG(n) AS avg, MIN(n) AS min, MAX(n) AS max FROM devices WHERE s = 'ok'`, []string{`{"sum":5,"avg":2.5,"min":1,"max":4}`}},
		"AVG of nothing is absent": {`SELECT AVG(x) AS a, MIN(x) AS b, SUM(x) AS c FROM devices`, []string{`{"c":0}`}},
		"texts have extremes":      {`SELECT MIN(s), MAX(s) FROM devices`, []string{`{"$1":"bad","$2":"ok"}`}},
		"two keys":                 {`SELECT s, n, COUNT() AS c FROM devices WHERE n > 1 GROUP BY s, n`, []string{`{"s":"ok","n":4,"c":1}`, `{"s":"bad","n":2,"c":1}`}},
		"a key that some lack":     {`SELECT k.z, COUNT() AS c FROM devices GROUP BY k.z`, []string{`{"z":1,"c":1}`, `{"c":4}`}},
		"another type is another group": {`SELECT n, COUNT() AS c FROM devices WHERE n IN [1, 'x'] GROUP BY n`,
			[]string{`{"n":1,"c":1}`, `{"n":"x","c":1}`}},
		"inner keys": {`SELECT k.z, COUNT() AS c FROM devices WHERE IS_DEFINED(k.z) GROUP BY k.z`, []string{`{"z":1,"c":1}`}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			q := parse(t, test.query)
			if !q.Aggregates() {
				t.Error("not seen as an aggregate")
			}
			got := []string{}
			for _, o := range q.Aggregate(rows(t, fleet...)) {
				got = append(got, encode(o))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestClauses(t *testing.T) {
	q := parse(t, "select top 5 * from Devices where true")
	if q.Top != 5 || !q.Star || q.From != Devices || q.Aggregates() {
		t.Errorf("got %+v", q)
	}
	if q := parse(t, "SELECT * FROM devices.jobs"); q.From != Jobs {
		t.Errorf("got %+v", q)
	}
	if q := parse(t, "SELECT deviceId FROM devices.modules"); q.From != Modules {
		t.Errorf("got %+v", q)
	}
	if got := encode(parse(t, "SELECT * FROM devices").Project(row(t, `{"a":1}`))); got != `{"a":1}` {
		t.Errorf("got %s", got)
	}
}

func TestSyntaxErrors(t *testing.T) {
	for name, s := range map[string]string{
		"nothing":                         ``,
		"no FROM":                         `SELECT *`,
		"an unknown collection":           `SELECT * FROM things`,
		"something behind the end":        `SELECT * FROM devices WHERE true true`,
		"an empty list":                   `SELECT FROM devices`,
		"a comma too many":                `SELECT a, FROM devices`,
		"an alias missing":                `SELECT a AS FROM devices`,
		"an alias of text":                `SELECT a AS 'x' FROM devices`,
		"WHERE without a condition":       `SELECT * FROM devices WHERE`,
		"an operand missing":              `SELECT * FROM devices WHERE a =`,
		"an operator missing":             `SELECT * FROM devices WHERE a b`,
		"a parenthesis open":              `SELECT * FROM devices WHERE (a = 1`,
		"a bracket open":                  `SELECT * FROM devices WHERE a IN [1`,
		"double brackets open":            `SELECT * FROM devices WHERE a.[[b = 1`,
		"a text open":                     `SELECT * FROM devices WHERE a = 'b`,
		"a text that ends in a backslash": `SELECT * FROM devices WHERE a = 'b\`,
		"a bad escape":                    `SELECT * FROM devices WHERE a = '\x'`,
		"a bad unicode escape":            `SELECT * FROM devices WHERE a = '\u00g0'`,
		"a short unicode escape":          `SELECT * FROM devices WHERE a = '\u00'`,
		"a bad number":                    `SELECT * FROM devices WHERE a = 1x`,
		"a bad hexadecimal number":        `SELECT * FROM devices WHERE a = 0xg`,
		"a bad exponent":                  `SELECT * FROM devices WHERE a = 1e`,
		"an unknown character":            `SELECT * FROM devices WHERE a = ;`,
		"an unknown function":             `SELECT * FROM devices WHERE STARTSWITH(a, 'b')`,
		"a dot without a name":            `SELECT a. FROM devices`,
		"TOP without a number":            `SELECT TOP * FROM devices`,
		"TOP of a fraction":               `SELECT TOP 1.5 * FROM devices`,
		"TOP of nothing":                  `SELECT TOP 0 * FROM devices`,
		"GROUP without BY":                `SELECT COUNT() FROM devices GROUP a`,
		"a column that is not grouped":    `SELECT a, COUNT() FROM devices`,
		"a column of another group":       `SELECT a FROM devices GROUP BY b`,
		"a star that is grouped":          `SELECT * FROM devices GROUP BY a`,
		"a projection of jobs":            `SELECT jobId FROM devices.jobs`,
		"an aggregate of jobs":            `SELECT COUNT() FROM devices.jobs`,
		"a join":                          `SELECT * FROM devices JOIN devices.modules`,
		"AVG of nothing":                  `SELECT AVG() FROM devices`,
	} {
		t.Run(name, func(t *testing.T) {
			if q, err := Parse(s); err == nil {
				t.Errorf("%s was accepted: %+v", s, q)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`SELECT * FROM devices`, `SELECT TOP 3 deviceId, tags.a AS b FROM devices WHERE a.b = 'x\u0041' AND NOT (c IN [1, 0x2, -3.5e1])`,
		`SELECT s, COUNT() AS n, AVG(x) FROM devices WHERE IS_DEFINED(a.[[b c]]) GROUP BY s`, `SELECT * FROM devices.jobs WHERE a NIN ["x"]`,
		`SELECT [[`, `'`, "\x00\xff", `SELECT * FROM devices WHERE ((((1`,
	} {
		f.Add(s)
	}
	document := row(f, sample)
	f.Fuzz(func(t *testing.T, s string) {
		q, err := Parse(s)
		if err != nil {
			return
		}
		q.Matches(document)
		if q.Aggregates() {
			for _, o := range q.Aggregate(rows(t, sample, `{}`)) {
				reparse(t, encode(o))
			}
			return
		}
		reparse(t, encode(q.Project(document)))
	})
}

func reparse(t *testing.T, s string) {
	if _, err := jsontree.Parse([]byte(s)); err != nil {
		t.Errorf("%v in %s", err, s)
	}
}

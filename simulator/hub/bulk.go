package hub

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

const maxBulk = 100

// BulkResult is what a bulk request came to: a failure for each entry that failed, and a warning for each device that was
// created without the twin that came with it.
type BulkResult struct{ Failures, Warnings []BulkFailure }

// BulkFailure is why an entry of a bulk request failed.
type BulkFailure struct {
	DeviceID  string
	Operation string // its import mode, as it was sent
	Reason    *Error
}

// Document is the BulkRegistryOperationResult. Microsoft's swagger calls errorCode a text, but the service sends a number.
func (r BulkResult) Document() jsontree.Object {
	failures, warnings := []any{}, []any{}
	for _, f := range r.Failures {
		failures = append(failures, jsontree.Object{
			{Name: "deviceId", Value: f.DeviceID},
			{Name: "errorCode", Value: f.Reason.Number},
			{Name: "errorStatus", Value: f.Reason.Message},
			{Name: "operation", Value: f.Operation},
		})
	}
	for _, w := range r.Warnings {
		warnings = append(warnings, jsontree.Object{
			{Name: "deviceId", Value: w.DeviceID},
			{Name: "warningCode", Value: "DeviceRegisteredWithoutTwin"},
			{Name: "warningStatus", Value: w.Reason.Message},
		})
	}
	return jsontree.Object{
		{Name: "isSuccessful", Value: len(failures) == 0},
		{Name: "errors", Value: failures},
		{Name: "warnings", Value: warnings},
	}
}

// bulkEntry is an ExportImportDevice. Its members are found without case: Node sends the etag of an identity as etag,
// the swagger names it eTag.
type bulkEntry struct {
	id, mode, etag, twinETag string
	body                     jsontree.Object
}

func parseEntry(o jsontree.Object) bulkEntry {
	id := anyCase(o, "id")
	return bulkEntry{
		id: id, mode: anyCase(o, "importMode"), etag: anyCase(o, "eTag"), twinETag: anyCase(o, "twinETag"),
		body: o.With("deviceId", id),
	}
}

func anyCase(o jsontree.Object, name string) string {
	i := slices.IndexFunc(o, func(m jsontree.Member) bool { return strings.EqualFold(m.Name, name) })
	if i < 0 {
		return ""
	}
	s, _ := o[i].Value.(string)
	return s
}

// hasTwin reports whether the entry brings tags or properties along.
func (e bulkEntry) hasTwin() bool {
	_, tags := e.body.Get("tags")
	_, properties := e.body.Get("properties")
	return tags || properties
}

// importMode is what an entry does.
type importMode struct {
	identity  func(h *Hub, e bulkEntry, ifMatch string) error
	condition func(e bulkEntry) string // the etag that has to fit; nil: none
}

// importModes are those of the swagger's ExportImportDevice, and createOrUpdate of "Import and export device identities",
// which is what an entry without a mode does. Their names are matched without case: Node writes create, but Update.
var importModes = map[string]importMode{
	"create":                    {(*Hub).bulkCreate, nil},
	"createorupdate":            {(*Hub).bulkCreateOrUpdate, nil},
	"createorupdateifmatchetag": {(*Hub).bulkCreateOrUpdate, bulkEntry.identityTag},
	"update":                    {(*Hub).bulkUpdate, nil},
	"updateifmatchetag":         {(*Hub).bulkUpdate, bulkEntry.identityTag},
	"updatetwin":                {(*Hub).bulkUpdateTwin, nil},
	"updatetwinifmatchetag":     {(*Hub).bulkUpdateTwin, bulkEntry.twinTag},
	"delete":                    {(*Hub).bulkDelete, nil},
	"deleteifmatchetag":         {(*Hub).bulkDelete, bulkEntry.identityTag},
	"":                          {(*Hub).bulkCreateOrUpdate, nil},
}

func (e bulkEntry) identityTag() string { return e.etag }

func (e bulkEntry) twinTag() string { return e.twinETag }

// Bulk applies up to 100 entries, each on its own. A request that is refused as a whole changes nothing; that one which names
// a device twice is among those is inferred.
func (h *Hub) Bulk(list []any) (BulkResult, error) {
	entries, err := parseEntries(list)
	if err != nil {
		return BulkResult{}, err
	}
	var r BulkResult
	for _, e := range entries {
		err := h.bulk(e)
		var without *withoutTwinError
		var refused *Error
		switch {
		case errors.As(err, &without):
			r.Warnings = append(r.Warnings, BulkFailure{e.id, e.mode, without.reason})
		case errors.As(err, &refused):
			r.Failures = append(r.Failures, BulkFailure{e.id, e.mode, refused})
		case err != nil:
			return r, err
		}
	}
	return r, nil
}

func parseEntries(list []any) ([]bulkEntry, error) {
	if len(list) == 0 || len(list) > maxBulk {
		return nil, argumentInvalid("A bulk request must have between 1 and %d devices, not %d", maxBulk, len(list))
	}
	seen := map[string]bool{}
	entries := make([]bulkEntry, len(list))
	for i, v := range list {
		o, ok := v.(jsontree.Object)
		if !ok {
			return nil, argumentInvalid("A device of a bulk request must be an object")
		}
		e := parseEntry(o)
		if seen[e.id] {
			return nil, refuse(400, "DeviceDefinedMultipleTimes", 400011, "The device %q is defined more than once", e.id)
		}
		entries[i], seen[e.id] = e, true
	}
	return entries, nil
}

func (h *Hub) bulk(e bulkEntry) error {
	mode, known := importModes[strings.ToLower(e.mode)]
	if !known {
		return argumentInvalid("The import mode %q is invalid", e.mode)
	}
	if module := anyCase(e.body, "moduleId"); module != "" {
		return argumentInvalid("Modules are not taken in bulk: %q", module)
	}
	ifMatch := "*"
	if mode.condition != nil {
		ifMatch = mode.condition(e)
	}
	if tag(ifMatch) == "" {
		return preconditionFailed("Precondition failed: Etag missing")
	}
	return mode.identity(h, e, ifMatch)
}

// withoutTwinError says that a device was created, but its twin could not be written.
type withoutTwinError struct{ reason *Error }

func (e *withoutTwinError) Error() string { return "created without its twin: " + e.reason.Error() }

// bulkCreate gives the twin no time yet, as a recording of the service shows.
func (h *Hub) bulkCreate(e bulkEntry, _ string) error {
	want, err := h.parseIdentity(e.id, e.body)
	if err != nil {
		return err
	}
	if _, err := h.createIdentity(want, func(time.Time) time.Time { return time.Time{} }); err != nil {
		return err
	}
	err = h.bulkTwin(e, "")
	if refused := (*Error)(nil); errors.As(err, &refused) {
		return &withoutTwinError{refused}
	}
	return err
}

func (h *Hub) bulkUpdate(e bulkEntry, ifMatch string) error {
	if _, err := h.PutIdentity(e.id, e.body, ifMatch); err != nil {
		return err
	}
	return h.bulkTwin(e, e.twinETag)
}

func (h *Hub) bulkCreateOrUpdate(e bulkEntry, ifMatch string) error {
	if _, err := h.Get(e.id); err != nil {
		return h.bulkCreate(e, ifMatch)
	}
	return h.bulkUpdate(e, ifMatch)
}

func (h *Hub) bulkUpdateTwin(e bulkEntry, ifMatch string) error {
	_, err := h.PatchTwin(e.id, e.body, ifMatch)
	return err
}

func (h *Hub) bulkDelete(e bulkEntry, ifMatch string) error { return h.DeleteIdentity(e.id, ifMatch) }

// bulkTwin merges the twin of an entry, if it has one.
func (h *Hub) bulkTwin(e bulkEntry, ifMatch string) error {
	if !e.hasTwin() {
		return nil
	}
	return h.bulkUpdateTwin(e, ifMatch)
}

package amqp

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/pnp-operator/pnp-operator/simulator/eventhub"
)

// latest is the offset behind everything that there is.
const latest = "@latest"

// selectorPattern: a value is quoted or, as the Azure CLI writes it, a bare number.
var selectorPattern = regexp.MustCompile(`^amqp\.annotation\.x-opt-(offset|sequence-number|enqueued-time|enqueuedtimeutc)\s*(>=?)\s*(?:'([^']*)'|(-?[0-9]+))$`)

// selectorKeys: the time has two spellings, of which the second one is the Azure CLI's.
var selectorKeys = map[string]eventhub.Key{
	"offset": eventhub.ByOffset, "sequence-number": eventhub.BySequence, "enqueued-time": eventhub.ByTime, "enqueuedtimeutc": eventhub.ByTime,
}

// position turns a selector into the sequence number to start at. These are all the selectors that clients send. The texts of
// the errors are those of the service (azure-sdk-for-net#49318, azure-event-hubs-python#13, azure-event-hubs-spark#315).
func position(p *eventhub.Partition, selector string) (int64, *condition) {
	if selector == "" {
		return 0, nil
	}
	m := selectorPattern.FindStringSubmatch(strings.TrimSpace(selector))
	if m == nil {
		return 0, notAFilter(selector)
	}
	key, inclusive, text := selectorKeys[m[1]], m[2] == ">=", m[3]+m[4]
	if key == eventhub.ByOffset && text == latest {
		return p.End(inclusive), nil
	}
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, notAFilter(selector)
	}
	if why := beyond(p.Info(), key, value); why != nil {
		return 0, why
	}
	return p.Find(key, value, inclusive), nil
}

func notAFilter(selector string) *condition {
	return conditionf(condArgument, "The filter '%s' is not a valid amqp filter for EventHub entities", selector)
}

// beyond refuses positions that the partition has not reached yet, such as those of an event hub that was there before.
func beyond(i eventhub.Info, key eventhub.Key, value int64) *condition {
	switch {
	case key == eventhub.ByOffset && value > i.LastOffset:
		return conditionf(condArgument, "The supplied offset '%d' is invalid. The last offset in the system is '%d'", value, i.LastOffset)
	case key == eventhub.BySequence && value > i.Last:
		return conditionf(condArgument, "The supplied sequence number '%d' is invalid. The last sequence number in the system is '%d'", value, i.Last)
	}
	return nil
}

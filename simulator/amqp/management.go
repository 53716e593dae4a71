package amqp

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/pnp-operator/pnp-operator/simulator/amqp/wire"
	"github.com/pnp-operator/pnp-operator/simulator/eventhub"
)

// Types of entities that can be read.
const (
	typeHub       = "com.microsoft:eventhub"
	typePartition = "com.microsoft:partition"
)

// readProperties answers READ of the event hub or of a partition.
func (s *Server) readProperties(r request) []byte {
	log := s.options.Log
	if name := r.text("name"); !log.Exists() || !strings.EqualFold(name, log.Name()) {
		return r.refusal(http.StatusNotFound, entityNotFound(name))
	}
	switch r.text("type") {
	case typeHub:
		return r.answer(http.StatusOK, "OK", "", hubProperties(log))
	case typePartition:
		p := log.Partition(r.text("partition"))
		if p == nil {
			return r.refusal(http.StatusBadRequest, badPartition())
		}
		return r.answer(http.StatusOK, "OK", "", partitionProperties(log, p))
	}
	return r.refusal(http.StatusBadRequest, unsupported())
}

// hubProperties: azeventhubs wants the ids as an array of strings and the replication factor to be there.
func hubProperties(log *eventhub.Log) wire.Map {
	ids := make([]string, len(log.Partitions()))
	for i, p := range log.Partitions() {
		ids[i] = p.ID()
	}
	return wire.Map{
		"name", log.Name(), "type", typeHub, "created_at", log.Created(),
		"partition_count", int32(len(ids)), "partition_ids", ids, "georeplication_factor", int32(1),
	}
}

func partitionProperties(log *eventhub.Log, p *eventhub.Partition) wire.Map {
	i := p.Info()
	return wire.Map{
		"name", log.Name(), "type", typePartition, "partition", p.ID(),
		"begin_sequence_number", i.Begin, "last_enqueued_sequence_number", i.Last,
		"last_enqueued_offset", strconv.FormatInt(i.LastOffset, 10), "last_enqueued_time_utc", i.LastTime,
		"is_partition_empty", i.IsEmpty,
	}
}

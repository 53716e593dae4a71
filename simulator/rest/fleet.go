package rest

import (
	"net/http"
	"strconv"

	"github.com/pnp-operator/pnp-operator/simulator/fleet"
	"github.com/pnp-operator/pnp-operator/simulator/hub"
	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

func listConfigurations(c *call) (reply, error) { return ok(c.server.Configurations.List()), nil }

func getConfiguration(c *call) (reply, error) {
	return configurationReply(c.server.Configurations.Get(c.params["configuration"]))
}

func putConfiguration(c *call) (reply, error) {
	body, err := c.object()
	if err != nil {
		return reply{}, err
	}
	return configurationReply(c.server.Configurations.Put(c.params["configuration"], body, c.ifMatch))
}

func configurationReply(document jsontree.Object, etag string, err error) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	return ok(document).with("ETag", `"`+etag+`"`), nil
}

func deleteConfiguration(c *call) (reply, error) {
	return reply{status: http.StatusNoContent}, c.server.Configurations.Delete(c.params["configuration"], c.ifMatch)
}

func testQueries(c *call) (reply, error) {
	body, err := c.object()
	if err != nil {
		return reply{}, err
	}
	return ok(fleet.CheckQueries(body)), nil
}

func putJob(c *call) (reply, error) {
	body, err := c.object()
	if err != nil {
		return reply{}, err
	}
	return jobReply(c.server.Jobs.Create(c.params["job"], body))
}

func getJob(c *call) (reply, error) { return ok(c.server.Jobs.Get(c.params["job"])), nil }

func cancelJob(c *call) (reply, error) { return jobReply(c.server.Jobs.Cancel(c.params["job"])) }

func jobReply(document jsontree.Object, err error) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	return ok(document), nil
}

// queryJobs answers a page of jobs. A continuation is the number of those before it.
func queryJobs(c *call) (reply, error) {
	size, err := c.pageSize()
	if err != nil {
		return reply{}, err
	}
	from := 0
	if s := c.header.Get("x-ms-continuation"); s != "" {
		if from, err = strconv.Atoi(s); err != nil || from < 0 {
			return reply{}, hub.BadQuery()
		}
	}
	all := c.server.Jobs.List(c.query.Get("jobType"), c.query.Get("jobStatus"))
	from = min(from, len(all))
	end := min(from+size, len(all))
	r := ok(all[from:end]).with("x-ms-item-type", "JobResponse")
	if end < len(all) {
		r = r.with("x-ms-continuation", strconv.Itoa(end))
	}
	return r, nil
}

// importExportJobs: there are none.
func importExportJobs(*call) (reply, error) { return ok([]any{}), nil }

func importExportJob(c *call) (reply, error) {
	return reply{}, &hub.Error{Status: 404, Name: "JobNotFound", Number: 404002, Message: "Job " + c.params["job"] + " not found."}
}

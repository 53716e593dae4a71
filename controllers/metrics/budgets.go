package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/pnp-operator/pnp-operator/internal/budget"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
)

var (
	budgetRate = prometheus.NewDesc("pnp_hub_budget_requests_per_second",
		"Requests that the budget of a hub allows a second now, by class: less than its limit after the hub refused some.", []string{"host", "via", "class"}, nil)
	budgetTaken = prometheus.NewDesc("pnp_hub_budget_taken_total",
		"Requests that took a token of the budget.", []string{"host", "via", "class", "priority"}, nil)
	budgetWaits = prometheus.NewDesc("pnp_hub_budget_waits_total",
		"Requests that found no token in the budget and were told to come back; one may be told several times.", []string{"host", "via", "class", "priority"}, nil)
	budgetWaiting = prometheus.NewDesc("pnp_hub_budget_waiting",
		"Requests that wait for a token of the budget now.", []string{"host", "via", "class", "priority"}, nil)
	budgetThrottled = prometheus.NewDesc("pnp_hub_budget_throttled_total",
		"Requests that the hub refused to have fewer of them (429, 503005).", []string{"host", "via", "class"}, nil)
	budgetMessages = prometheus.NewDesc("pnp_hub_budget_daily_messages",
		"Messages of the hub that requests and answers used up since 00:00 UTC, or since the start of the operator.", []string{"host", "via"}, nil)
)

// budgets tells of the budgets there are when Prometheus asks: one that is gone has no series.
type budgets struct{ leading[budget.Hosts] }

// Budgets are the budgets of the operator that leads.
var Budgets = &budgets{}

func init() { metrics.Registry.MustRegister(Budgets) }

// Describe lists what is collected.
func (b *budgets) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{budgetRate, budgetTaken, budgetWaits, budgetWaiting, budgetThrottled, budgetMessages} {
		to <- d
	}
}

// Collect reads the budgets.
func (b *budgets) Collect(to chan<- prometheus.Metric) {
	hosts := b.latest()
	if hosts == nil {
		return
	}
	for hub, one := range hosts.All() {
		stats, host, via := one.Stats(), iothub.HostOf(hub), iothub.ViaOf(hub)
		to <- prometheus.MustNewConstMetric(budgetMessages, prometheus.GaugeValue, float64(stats.DailyMessages), host, via)
		for _, c := range stats.Classes {
			collectClass(to, host, via, c)
		}
	}
}

func collectClass(to chan<- prometheus.Metric, host, via string, c budget.ClassStats) {
	class := c.Class.String()
	to <- prometheus.MustNewConstMetric(budgetRate, prometheus.GaugeValue, c.PerSecond, host, via, class)
	to <- prometheus.MustNewConstMetric(budgetThrottled, prometheus.CounterValue, float64(c.Throttled), host, via, class)
	for p := range c.Taken {
		priority := budget.Priority(p).String()
		to <- prometheus.MustNewConstMetric(budgetTaken, prometheus.CounterValue, float64(c.Taken[p]+c.GivenBack[p]), host, via, class, priority)
		to <- prometheus.MustNewConstMetric(budgetWaits, prometheus.CounterValue, float64(c.Waits[p]), host, via, class, priority)
		to <- prometheus.MustNewConstMetric(budgetWaiting, prometheus.GaugeValue, float64(c.Waiting[p]), host, via, class, priority)
	}
}

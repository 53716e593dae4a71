{{- define "pnp-operator.labels" -}}
app.kubernetes.io/name: pnp-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ include "pnp-operator.version" . | trunc 63 | trimAll "-_." | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* What runs, as far as the image's name tells. */}}
{{- define "pnp-operator.version" -}}
{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* An image of the values; one without a tag has the operator's. */}}
{{- define "pnp-operator.image" -}}
{{- $image := index . 0 -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default (include "pnp-operator.version" (index . 1)) }}
{{- end }}
{{- end }}

{{/* The generated rules: those of the whole cluster, and those of the operator's own namespace. */}}
{{- define "pnp-operator.subjects" -}}
subjects:
- kind: ServiceAccount
  name: pnp-operator
  namespace: {{ .Release.Namespace }}
{{- end }}

{{- define "pnp-operator.certificateSubjects" -}}
subjects:
- kind: ServiceAccount
  name: pnp-operator-certificate
  namespace: {{ .Release.Namespace }}
{{- end }}

{{- define "pnp-operator.endTrialSubjects" -}}
subjects:
- kind: ServiceAccount
  name: pnp-operator-end-trial
  namespace: {{ .Release.Namespace }}
{{- end }}

{{/* Annotations of what is there only before a release is uninstalled, in the order of their weights. */}}
{{- define "pnp-operator.beforeUninstall" -}}
helm.sh/hook: pre-delete
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded,hook-failed
{{- end }}

{{/* Hosts that may be sent a token, as JSON: those of the values, and the simulator's. */}}
{{- define "pnp-operator.hosts" -}}
{{- $root := index . 0 -}}
{{- $hosts := index . 1 -}}
{{- if $root.Values.simulator.enabled -}}
{{- $hosts = append $hosts (include "pnp-operator.simulatorHost" $root) -}}
{{- end -}}
{{ toJson $hosts }}
{{- end }}

{{- define "pnp-operator.simulatorHost" -}}
pnp-simulator.{{ .Values.simulator.namespace }}.svc
{{- end }}

{{/* "true" if the chart's own Deployment makes the webhook's certificate. */}}
{{- define "pnp-operator.makesCertificate" -}}
{{ and .Values.webhook.enabled (not .Values.webhook.certManager.enabled) }}
{{- end }}

{{/* "true" if metrics are served with a certificate that is given. */}}
{{- define "pnp-operator.metricsCertificate" -}}
{{ and .Values.metrics.enabled .Values.metrics.secure (ne .Values.metrics.certificateSecret "") }}
{{- end }}

{{/* The ports that allowed hosts name, as a JSON object whose keys are ports; "*" stands for any port. */}}
{{- define "pnp-operator.allowedPorts" -}}
{{- $ports := dict -}}
{{- range concat .Values.allowedHubSuffixes .Values.allowedEventHubSuffixes .Values.allowedModelRepositories -}}
{{- with index (splitList ":" (printf "%s:" .)) 1 -}}
{{- $_ := set $ports . true -}}
{{- end -}}
{{- end -}}
{{ toJson $ports }}
{{- end }}

{{- define "pnp-operator.labels" -}}
app.kubernetes.io/name: pnp-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "pnp-operator.image" -}}
{{- $image := index . 0 -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default (index . 1).Chart.AppVersion }}
{{- end }}
{{- end }}

{{/* The generated rules: those of the whole cluster, and those of the operator's own namespace. */}}
{{- define "pnp-operator.subjects" -}}
subjects:
- kind: ServiceAccount
  name: pnp-operator
  namespace: {{ .Release.Namespace }}
{{- end }}

{{- define "holdfast.name" -}}
{{ .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "holdfast.fullname" -}}
{{- $name := include "holdfast.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{ .Values.fullnameOverride | default $full | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "holdfast.selector" -}}
app.kubernetes.io/name: {{ include "holdfast.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "holdfast.labels" -}}
{{ include "holdfast.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- with .Values.additionalLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "holdfast.account" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "holdfast.fullname" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{- /* The reference of an image; given [image, appVersion]. */ -}}
{{- define "holdfast.image" -}}
{{- $image := index . 0 -}}
{{- with $image.registry }}{{ . }}/{{ end }}{{ $image.repository }}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default (index . 1) }}{{ end }}
{{- end }}

{{- /* Whether a pod needs to speak with the API server. */ -}}
{{- define "holdfast.api" -}}
{{- if or .Values.highAvailability.enabled .Values.jobs.enabled }}true{{ end }}
{{- end }}

{{- /* Mistakes that a schema cannot see. */ -}}
{{- define "holdfast.check" -}}
{{- if not .Values.config.models }}
{{- fail "config.models: empty; right would be at least one model (docs/configuration.md)" }}
{{- end }}
{{- range $place, $model := .Values.config.models }}
{{- $retrain := dig "policy" "retrain" dict $model }}
{{- if and (kindIs "map" $retrain) (hasKey $retrain "true") }}
{{- fail (printf "config.models[%d].policy.retrain: a key `true`, which YAML makes of on; right would be \"on\", in quotes" $place) }}
{{- end }}
{{- $kind := dig "training" "kind" "none" $model }}
{{- if and (ne $kind "none") (eq $.Values.image.repository "holdfast") (not $.Values.jobs.enabled) }}
{{- fail (printf "config.models[%d].training.kind: %s, and the image holdfast is without what trains; right would be jobs.enabled: true, or image.repository: holdfast-trainer" $place $kind) }}
{{- end }}
{{- end }}
{{- if and (eq .Values.store.kind "postgresql") (not .Values.store.postgresql.existingSecret) }}
{{- fail "store.postgresql.existingSecret: absent; right would be the Secret with the database's URL" }}
{{- end }}
{{- if and (eq .Values.store.kind "sqlite") (not .Values.persistence.enabled) }}
{{- fail "persistence.enabled: false with store.kind sqlite, which would lose the store; right would be true, or postgresql" }}
{{- end }}
{{- if and .Values.http.tls.mutual (not .Values.http.tls.existingSecret) }}
{{- fail "http.tls.mutual: true without http.tls.existingSecret; right would be a Secret with tls.crt, tls.key and ca.crt" }}
{{- end }}
{{- if and .Values.notify.existingSecret (or (dig "notify" "urls_env" "" .Values.config) (dig "notify" "urls_file" "" .Values.config)) }}
{{- fail "config.notify: urls_env or urls_file beside notify.existingSecret; right would be one of them" }}
{{- end }}
{{- if .Values.highAvailability.enabled }}
{{- if ne .Values.store.kind "postgresql" }}
{{- fail "highAvailability.enabled: true with store.kind sqlite; right would be postgresql, which several daemons can share" }}
{{- end }}
{{- if and .Values.persistence.enabled (not (has "ReadWriteMany" .Values.persistence.accessModes)) }}
{{- fail "persistence.accessModes: without ReadWriteMany while highAvailability is enabled; right would be [ReadWriteMany], or persistence.enabled: false" }}
{{- end }}
{{- end }}
{{- end }}

{{- /* How the port is spoken to. */ -}}
{{- define "holdfast.scheme" -}}
{{ ternary "https" "http" (ne .Values.http.tls.existingSecret "") }}
{{- end }}

{{- /* Where people read the runbooks: holdfast's own pages, unless they are elsewhere. */ -}}
{{- define "holdfast.runbooks" -}}
{{- $inside := printf "%s://%s.%s.svc:%v" (include "holdfast.scheme" .) (include "holdfast.fullname" .) .Release.Namespace .Values.service.port -}}
{{- $own := printf "%s/runbooks" (dig "http" "url" "" .Values.config | default $inside | trimSuffix "/") -}}
{{ .Values.prometheusRule.runbooksUrl | default $own | trimSuffix "/" }}
{{- end }}

{{- /* holdfast.yaml: what was given, and what follows from the other values. */ -}}
{{- define "holdfast.config" -}}
{{- $config := deepCopy .Values.config }}
{{- $_ := set $config "folder" "/data/files" }}
{{- $http := merge (dict "host" "0.0.0.0" "port" 8700) ($config.http | default dict) }}
{{- with .Values.http.tls }}
{{- if .existingSecret }}
{{- $tls := dict "certificate" "/etc/holdfast-tls/tls.crt" "private_key" "/etc/holdfast-tls/tls.key" }}
{{- if .mutual }}{{ $_ := set $tls "client_ca" "/etc/holdfast-tls/ca.crt" }}{{ end }}
{{- $_ := set $http "tls" $tls }}
{{- end }}
{{- end }}
{{- $_ := set $config "http" $http }}
{{- with .Values.notify }}
{{- if .existingSecret }}
{{- $_ := set $config "notify" (merge (dict "urls_file" (printf "/etc/holdfast-notify/%s" .key)) ($config.notify | default dict)) }}
{{- end }}
{{- end }}
{{- if eq .Values.store.kind "postgresql" }}
{{- $_ := set $config "store" "${env:HOLDFAST_STORE}" }}
{{- else }}
{{- $_ := set $config "store" "sqlite:////data/holdfast.db" }}
{{- end }}
{{- if .Values.highAvailability.enabled }}
{{- $_ := set $config "leader" (dict "lease" (include "holdfast.fullname" .) "duration" .Values.highAvailability.leaseDuration) }}
{{- end }}
{{- with .Values.jobs }}
{{- if .enabled }}
{{- $jobs := dict "template" "job.yaml" "owner" (include "holdfast.fullname" $) "deadline" .deadline "retries" (int .retries) "keep" .keep }}
{{- if .queue }}{{ $_ := set $jobs "queue" .queue }}{{ end }}
{{- $_ := set $config "launch" (dict "kubernetes" $jobs) }}
{{- end }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{- define "holdfast.env" -}}
- {name: HOME, value: /tmp}
- {name: MPLCONFIGDIR, value: /tmp/matplotlib}
- {name: DO_NOT_TRACK, value: "1"}
{{- if eq .Values.store.kind "postgresql" }}
- name: HOLDFAST_STORE
  valueFrom:
    secretKeyRef:
      name: {{ .Values.store.postgresql.existingSecret | quote }}
      key: {{ .Values.store.postgresql.key | quote }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* job.yaml: the pod template of retrains. */ -}}
{{- define "holdfast.job" -}}
metadata:
  labels:
    {{- include "holdfast.jobLabels" . | nindent 4 }}
spec:
  serviceAccountName: {{ include "holdfast.account" . | quote }}
  automountServiceAccountToken: false
  securityContext: {{- toYaml .Values.podSecurityContext | nindent 4 }}
  {{- with .Values.image.pullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.jobs.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.jobs.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: retrain
      image: {{ include "holdfast.image" (list .Values.jobs.image .Chart.AppVersion) | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      securityContext: {{- toYaml .Values.securityContext | nindent 8 }}
      env: {{- include "holdfast.env" . | nindent 8 }}
      {{- with .Values.extraEnvFrom }}
      envFrom: {{- toYaml . | nindent 8 }}
      {{- end }}
      resources: {{- toYaml .Values.jobs.resources | nindent 8 }}
      volumeMounts:
        - {name: config, mountPath: /etc/holdfast, readOnly: true}
        - {name: tmp, mountPath: /tmp}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: config
      configMap: {name: {{ include "holdfast.fullname" . | quote }}}
    - name: tmp
      emptyDir: {sizeLimit: {{ .Values.tmpSize | quote }}}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{- define "holdfast.jobLabels" -}}
app.kubernetes.io/name: {{ include "holdfast.name" . }}-retrain
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- /* One egress rule, given {to, ports}; udp adds UDP. */ -}}
{{- define "holdfast.egress" -}}
- ports:
    {{- range .rule.ports }}
    - {protocol: TCP, port: {{ . }}}
    {{- if $.udp }}
    - {protocol: UDP, port: {{ . }}}
    {{- end }}
    {{- end }}
  {{- with .rule.to }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

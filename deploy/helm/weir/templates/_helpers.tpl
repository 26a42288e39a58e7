{{/* Names, labels, the configuration files and the pods: what the templates share. */}}

{{- define "weir.fullname" -}}
{{- if contains "weir" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-weir" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{/* What selects: never changes over a release's life. (dict "root" $ "component" "fetcher" "chain" "ethereum") */}}
{{- define "weir.selector" -}}
app.kubernetes.io/name: weir
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- with .chain }}
weir/chain: {{ . }}
{{- end }}
{{- end }}

{{- define "weir.labels" -}}
{{ include "weir.selector" . }}
app.kubernetes.io/part-of: weir
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{/* (dict "root" $ "component" "fetcher") */}}
{{- define "weir.image" -}}
{{- $i := .root.Values.image -}}
{{- $name := printf "%s%s" $i.prefix .component -}}
{{- if $i.registry }}{{ $name = printf "%s/%s" $i.registry $name }}{{ end -}}
{{- $digest := get $i.digests .component -}}
{{- $tag := default .root.Chart.AppVersion $i.tag -}}
{{- if $digest }}{{ printf "%s@%s" $name $digest }}{{ else }}{{ printf "%s:%s" $name $tag }}{{ end -}}
{{- end }}

{{- define "weir.redisUrl" -}}
{{- if .Values.redis.bundled.enabled }}redis://{{ include "weir.fullname" . }}-redis:6379/0
{{- else }}{{ required "redis.url is needed, or redis.bundled.enabled" .Values.redis.url }}{{ end }}
{{- end }}

{{/* Empty: nothing is sent to Kafka. */}}
{{- define "weir.kafkaUrl" -}}
{{- $k := .Values.kafka -}}
{{- if $k.bundled.enabled }}kafka://{{ include "weir.fullname" . }}-kafka:9092
{{- else if $k.url -}}
{{- $more := list -}}
{{- if $k.tls.secret }}{{ $more = append $more "ca=/etc/weir/secrets/kafka-ca.crt" }}{{ end -}}
{{- if and $k.tls.secret $k.tls.clientCertificate }}{{ $more = concat $more (list "cert=/etc/weir/secrets/kafka-tls.crt" "key=/etc/weir/secrets/kafka-tls.key") }}{{ end -}}
{{- $k.url }}{{ if $more }}{{ ternary "&" "/?" (contains "?" $k.url) }}{{ join "&" $more }}{{ end }}
{{- end }}
{{- end }}

{{/* weir.yaml for a list of chains. (dict "root" $ "chains" […] "keys" true) No secret stands in it. */}}
{{- define "weir.yaml" -}}
{{- $v := .root.Values -}}
{{- $c := deepCopy $v.config -}}
{{- $_ := set $c "ops" (dict "listen" (dict "fetcher" "0.0.0.0:9101" "normalizer" "0.0.0.0:9102" "reconciler" "0.0.0.0:9103" "gateway" "0.0.0.0:9104")) -}}
{{- $bus := merge (dict "redis_url" (include "weir.redisUrl" .root)) (default dict $c.bus) -}}
{{- if not $v.redis.bundled.enabled }}{{ $_ = set $bus "username" $v.redis.username }}{{ end -}}
{{- $_ = set $c "bus" $bus -}}
{{- $gateway := merge (dict "listen" "0.0.0.0:8080" "admin_listen" "0.0.0.0:8081") (default dict $c.gateway) -}}
{{- if .keys -}}
{{- $keys := list -}}
{{- range $i, $key := $v.keys }}{{ $keys = append $keys (dict "name" $key.name "role" $key.role "key" (printf "file:/etc/weir/secrets/key-%d" $i)) }}{{ end -}}
{{- $_ = set $gateway "keys" $keys -}}
{{- end -}}
{{- $_ = set $c "gateway" $gateway -}}
{{- $kafkaUrl := include "weir.kafkaUrl" .root -}}
{{- if $kafkaUrl -}}
{{- $kafka := merge (dict "url" $kafkaUrl) (default dict $c.kafka) -}}
{{- if not $v.kafka.bundled.enabled }}{{ $_ = set $kafka "username" $v.kafka.username }}{{ end -}}
{{- $_ = set $c "kafka" $kafka -}}
{{- end -}}
{{- $chains := list -}}
{{- range $chain := .chains -}}
{{- $endpoints := list -}}
{{- range $e := $chain.endpoints -}}
{{- $one := omit $e "urlFrom" "ws_urlFrom" "auth_headerFrom" -}}
{{- /* The environment has the real one, where it is needed; what only normalizes or serves asks no node. */ -}}
{{- if $e.urlFrom }}{{ $one = set $one "url" "http://from-secret.invalid" }}{{ end -}}
{{- $endpoints = append $endpoints $one -}}
{{- end -}}
{{- $chains = append $chains (set (omit $chain "endpoints") "endpoints" $endpoints) -}}
{{- end -}}
{{- $_ = set $c "chains" $chains -}}
{{- range $section := list "postgres" "normalizer" "reconciler" "webhooks" "kafka" "alerts" "otel" "log" }}{{ if not (get $c $section) }}{{ $_ = unset $c $section }}{{ end }}{{ end -}}
{{- toYaml $c -}}
{{- end }}

{{/* Which configuration a component reads. */}}
{{- define "weir.configKey" -}}
{{- if .chain }}chain-{{ .chain }}.yaml{{ else }}{{ .component }}.yaml{{ end -}}
{{- end }}

{{/* The secrets of a component, as JSON: files (path, name, key) and variables (variable, value or name and key).
     (dict "root" $ "component" "reconciler" "chains" […]) */}}
{{- define "weir.secrets" -}}
{{- $v := .root.Values -}}{{- $full := include "weir.fullname" .root -}}{{- $files := list -}}{{- $env := list -}}
{{- $redis := $v.redis.passwordFrom -}}
{{- if $v.redis.bundled.enabled }}{{ $redis = dict "name" (printf "%s-redis" $full) "key" "password" }}{{ end -}}
{{- if $redis -}}
{{- $files = append $files (dict "path" "redis-password" "name" $redis.name "key" $redis.key) -}}
{{- $env = append $env (dict "variable" "WEIR_BUS_PASSWORD" "value" "file:/etc/weir/secrets/redis-password") -}}
{{- end -}}
{{- with $v.alertsWebhookFrom -}}
{{- $files = append $files (dict "path" "alerts-webhook" "name" .name "key" .key) -}}
{{- $env = append $env (dict "variable" "WEIR_ALERTS_WEBHOOK_URL" "value" "file:/etc/weir/secrets/alerts-webhook") -}}
{{- end -}}
{{- $owner := $v.postgresql.urlFrom -}}
{{- if $v.postgresql.bundled.enabled }}{{ $owner = dict "name" (printf "%s-postgresql" $full) "key" "url" }}{{ end -}}
{{- if has .component (list "reconciler" "gateway") -}}
{{- if not $owner }}{{ fail "postgresql.urlFrom is needed, or postgresql.bundled.enabled" }}{{ end -}}
{{- $which := $owner -}}{{- $variable := "WEIR_POSTGRES_URL" -}}
{{- if and (eq .component "gateway") $v.postgresql.readerUrlFrom }}{{ $which = $v.postgresql.readerUrlFrom }}{{ $variable = "WEIR_POSTGRES_READER_URL" }}{{ end -}}
{{- $files = append $files (dict "path" "postgresql-url" "name" $which.name "key" $which.key) -}}
{{- $env = append $env (dict "variable" $variable "value" "file:/etc/weir/secrets/postgresql-url") -}}
{{- end -}}
{{- if eq .component "gateway" -}}
{{- with $v.webhooksKeyFrom -}}
{{- $files = append $files (dict "path" "webhooks-key" "name" .name "key" .key) -}}
{{- $env = append $env (dict "variable" "WEIR_WEBHOOKS_ENCRYPTION_KEY" "value" "file:/etc/weir/secrets/webhooks-key") -}}
{{- end -}}
{{- if and $v.kafka.url (not $v.kafka.bundled.enabled) -}}
{{- with $v.kafka.passwordFrom -}}
{{- $files = append $files (dict "path" "kafka-password" "name" .name "key" .key) -}}
{{- $env = append $env (dict "variable" "WEIR_KAFKA_PASSWORD" "value" "file:/etc/weir/secrets/kafka-password") -}}
{{- end -}}
{{- if $v.kafka.tls.secret -}}
{{- range $key := ternary (list "ca.crt" "tls.crt" "tls.key") (list "ca.crt") $v.kafka.tls.clientCertificate }}{{ $files = append $files (dict "path" (printf "kafka-%s" $key) "name" $v.kafka.tls.secret "key" $key) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- range $listener := list (dict "prefix" "" "values" $v.tls) (dict "prefix" "admin-" "values" $v.adminTls) -}}
{{- if $listener.values.secret -}}
{{- $names := dict "tls.crt" "CERTIFICATE" "tls.key" "KEY" -}}
{{- if $listener.values.clientCa }}{{ $_ := set $names "ca.crt" "CLIENT_CA" }}{{ end -}}
{{- range $key, $what := $names -}}
{{- $files = append $files (dict "path" (print $listener.prefix $key) "name" $listener.values.secret "key" $key) -}}
{{- $env = append $env (dict "variable" (printf "WEIR_GATEWAY_%sTLS_%s" ($listener.prefix | replace "-" "_" | upper) $what) "value" (printf "/etc/weir/secrets/%s%s" $listener.prefix $key)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $i, $key := $v.keys }}{{ $files = append $files (dict "path" (printf "key-%d" $i) "name" $key.secret.name "key" $key.secret.key) }}{{ end -}}
{{- end -}}
{{- range $v.secretSettings -}}{{- if has $.component .components -}}
{{- $path := printf "setting-%s" (.setting | replace "." "-") -}}
{{- $files = append $files (dict "path" $path "name" .secret.name "key" .secret.key) -}}
{{- $env = append $env (dict "variable" (printf "WEIR_%s" (.setting | replace "." "_" | upper)) "value" (printf "%s/etc/weir/secrets/%s" (ternary "" "file:" (default false .path)) $path)) -}}
{{- end -}}{{- end -}}
{{- if has .component (list "fetcher" "reconciler") -}}
{{- range $i, $chain := .chains -}}{{- range $j, $e := $chain.endpoints -}}
{{- $at := printf "WEIR_CHAINS_%d_ENDPOINTS_%d_" $i $j -}}
{{- with $e.urlFrom }}{{ $env = append $env (dict "variable" (print $at "URL") "name" .name "key" .key) }}{{ end -}}
{{- with $e.ws_urlFrom }}{{ $env = append $env (dict "variable" (print $at "WS_URL") "name" .name "key" .key) }}{{ end -}}
{{- with $e.auth_headerFrom -}}
{{- $files = append $files (dict "path" (printf "auth-%d-%d" $i $j) "name" .name "key" .key) -}}
{{- $env = append $env (dict "variable" (print $at "AUTH_HEADER") "value" (printf "file:/etc/weir/secrets/auth-%d-%d" $i $j)) -}}
{{- end -}}
{{- end -}}{{- end -}}
{{- end -}}
{{- dict "files" $files "env" $env | toJson -}}
{{- end }}

{{/* Whom a pod is to Kubernetes: nobody with a token. What runs before an upgrade has an account of its own, for the release's may be among what
     the upgrade brings. (dict "root" $ "component" "fetcher") */}}
{{- define "weir.serviceAccount" -}}
{{- $a := .root.Values.serviceAccount -}}
{{- if not $a.create }}{{ default "default" $a.name }}
{{- else if eq .component "migrate" }}{{ include "weir.fullname" .root }}-migrate
{{- else }}{{ default (include "weir.fullname" .root) $a.name }}{{ end }}
{{- end }}

{{/* Security of every pod and container: the restricted Pod Security Standard. */}}
{{- define "weir.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false   # they would put WEIR_… variables into the environment
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .uid }}
  runAsGroup: {{ .uid }}
  fsGroup: {{ .uid }}
  seccompProfile: {type: RuntimeDefault}
{{- end }}
{{- define "weir.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- define "weir.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/* Environment, mounts and volumes of a component. (as weir.secrets, plus "chain" and "config": the config map's name) */}}
{{- define "weir.env" -}}
{{- $s := include "weir.secrets" . | fromJson -}}
- {name: WEIR_CONFIG, value: /etc/weir/weir.yaml}
{{- range $s.env }}
{{- if .value }}
- {name: {{ .variable }}, value: {{ .value | quote }}}
{{- else }}
- name: {{ .variable }}
  valueFrom: {secretKeyRef: {name: {{ .name }}, key: {{ .key }}}}
{{- end }}
{{- end }}
{{- end }}
{{- define "weir.mounts" -}}
{{- $s := include "weir.secrets" . | fromJson -}}
- {name: config, mountPath: /etc/weir/weir.yaml, subPath: weir.yaml, readOnly: true}
{{- if $s.files }}
- {name: secrets, mountPath: /etc/weir/secrets, readOnly: true}
{{- end }}
{{- end }}
{{- define "weir.volumes" -}}
{{- $s := include "weir.secrets" . | fromJson -}}
- name: config
  configMap:
    name: {{ .config }}
    items: [{key: {{ include "weir.configKey" . }}, path: weir.yaml}]
{{- if $s.files }}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
{{- range $s.files }}
      - secret: {name: {{ .name }}, items: [{key: {{ .key }}, path: {{ .path }}}]}
{{- end }}
{{- end }}
{{- end }}

{{/* One service as a deployment with its disruption budget. (dict "root" $ "component" … "chains" […] "chain" name or "" "opsPort" n) */}}
{{- define "weir.service" -}}
{{- $v := .root.Values -}}
{{- $mine := get $v .component -}}
{{- $full := include "weir.fullname" .root -}}
{{- $name := printf "%s-%s" $full .component -}}
{{- if .chain }}{{ $name = printf "%s-%s" $name .chain }}{{ end -}}
{{- $ctx := merge (dict "config" (printf "%s-config" $full)) . -}}
{{- $scaled := or (dig "autoscaling" "enabled" false $mine) (dig "keda" "enabled" false $mine) -}}
{{- $preStop := default 0 $mine.preStopSeconds | int -}}
{{- $drain := regexFind "^[0-9]+" (toString (default "30s" $v.config.shutdown_timeout)) | int -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $name }}
  labels: {{- include "weir.labels" . | nindent 4 }}
spec:
  {{- if not $scaled }}
  replicas: {{ $mine.replicas }}
  {{- end }}
  revisionHistoryLimit: 3
  # The new one is ready before an old one goes: an owner's successor already waits for the lease, clients find another gateway.
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  selector:
    matchLabels: {{- include "weir.selector" . | nindent 6 }}
  template:
    metadata:
      labels: {{- include "weir.labels" . | nindent 8 }}
      annotations:
        checksum/config: {{ include "weir.yaml" (dict "root" .root "chains" .chains "keys" (eq .component "gateway")) | sha256sum }}
        {{- with $v.podAnnotations }}{{ toYaml . | nindent 8 }}{{ end }}
    spec:
      serviceAccountName: {{ include "weir.serviceAccount" . }}
      {{- include "weir.podSecurity" $v | nindent 6 }}
      {{- include "weir.pullSecrets" .root | nindent 6 }}
      terminationGracePeriodSeconds: {{ add $drain $preStop 10 }}   # shutdown_timeout, and a little
      containers:
        - name: {{ .component }}
          image: {{ include "weir.image" . | quote }}
          imagePullPolicy: {{ $v.image.pullPolicy }}
          {{- include "weir.containerSecurity" . | nindent 10 }}
          env: {{- include "weir.env" $ctx | nindent 12 }}
          ports:
            - {name: ops, containerPort: {{ .opsPort }}}
            {{- if eq .component "gateway" }}
            - {name: http, containerPort: 8080}
            - {name: admin, containerPort: 8081}
            {{- end }}
          # A reconciler may have the schema to change before it is ready: it is not hurried. Then /healthz says whether the main loop moves.
          startupProbe:
            httpGet: {path: {{ if eq .component "reconciler" }}/readyz{{ else }}/healthz{{ end }}, port: ops}
            periodSeconds: 5
            failureThreshold: {{ if eq .component "reconciler" }}360{{ else }}12{{ end }}
          livenessProbe:
            httpGet: {path: /healthz, port: ops}
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 3
          readinessProbe:
            httpGet: {path: /readyz, port: ops}
            periodSeconds: 5
            timeoutSeconds: 5
            failureThreshold: 2
          {{- if $preStop }}
          lifecycle: {preStop: {sleep: {seconds: {{ $preStop }}}}}
          {{- end }}
          resources: {{- toYaml $mine.resources | nindent 12 }}
          volumeMounts: {{- include "weir.mounts" $ctx | nindent 12 }}
      volumes: {{- include "weir.volumes" $ctx | nindent 8 }}
      {{- with $v.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      {{- with $v.nodeSelector }}
      nodeSelector: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $v.tolerations }}
      tolerations: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- $selector := include "weir.selector" . }}
      {{- with $v.affinity }}
      affinity: {{- toYaml . | nindent 8 }}
      {{- else }}
      # Soft: on a single node all of them still run.
      affinity:
        podAntiAffinity:
          preferredDuringSchedulingIgnoredDuringExecution:
            - weight: 100
              podAffinityTerm:
                topologyKey: kubernetes.io/hostname
                labelSelector:
                  matchLabels: {{- $selector | nindent 20 }}
      {{- end }}
      topologySpreadConstraints:
        {{- range $v.topologyKeys }}
        - maxSkew: 1
          topologyKey: {{ . }}
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels: {{- $selector | nindent 14 }}
        {{- end }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ $name }}
  labels: {{- include "weir.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels: {{- include "weir.selector" . | nindent 6 }}
{{- end }}

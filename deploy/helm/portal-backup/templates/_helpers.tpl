{{- define "portal-backup.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "portal-backup.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "portal-backup.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "portal-backup.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "portal-backup.selectorLabels" -}}
app.kubernetes.io/name: {{ include "portal-backup.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "portal-backup.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "portal-backup.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "portal-backup.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "portal-backup.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "portal-backup.serviceName" -}}
{{- default (include "portal-backup.fullname" .) .Values.service.name -}}
{{- end -}}

{{- define "portal-backup.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "portal-backup.catalogClaim" -}}
{{- default (printf "%s-catalog" (include "portal-backup.fullname" .)) .Values.catalog.persistence.existingClaim -}}
{{- end -}}

{{- define "portal-backup.archivesClaim" -}}
{{- default (printf "%s-archives" (include "portal-backup.fullname" .)) .Values.archives.existingClaim -}}
{{- end -}}

package setup

import (
	"strconv"
	"strings"
)

// rbac is what the server may do: read mappings, and say what is wrong with them.
const rbac = `apiVersion: v1
kind: ServiceAccount
metadata:
  name: rolecall-authenticator
  namespace: kube-system
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: rolecall-authenticator
rules:
- apiGroups: [rolecall.io]
  resources: [accessentries, identitymappings, groupmappings]
  verbs: [get, list, watch]
- apiGroups: [iamauthenticator.k8s.aws]
  resources: [iamidentitymappings]
  verbs: [get, list, watch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: rolecall-authenticator
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: rolecall-authenticator}
subjects:
- {kind: ServiceAccount, name: rolecall-authenticator, namespace: kube-system}
- {kind: User, name: rolecall-authenticator, apiGroup: rbac.authorization.k8s.io}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: rolecall-authenticator
  namespace: kube-system
rules:
- apiGroups: [""]
  resources: [configmaps]
  resourceNames: [aws-auth]
  verbs: [get, list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch, update]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: rolecall-authenticator
  namespace: kube-system
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: rolecall-authenticator}
subjects:
- {kind: ServiceAccount, name: rolecall-authenticator, namespace: kube-system}
- {kind: User, name: rolecall-authenticator, apiGroup: rbac.authorization.k8s.io}
`

// RBAC is what the server may do.
func RBAC() string { return rbac }

func (o Options) workload() File {
	switch o.Workload {
	case StaticPod:
		return File{Name: "static-pod.yaml", Text: o.staticPod()}
	case DaemonSet:
		return File{Name: "daemonset.yaml", Text: o.daemonSet()}
	case Deployment:
	}
	return File{Name: "deployment.yaml", Text: o.deployment()}
}

// container is the server, indented by so many spaces; more are further arguments.
func (o Options) container(indent, mounts string, more ...string) string {
	args := append([]string{
		"serve", "authenticator", "--config=/etc/rolecall/" + ConfigFile, "--port=" + strconv.Itoa(o.Port),
		"--hostname=" + o.Hostname,
	}, more...)
	var text strings.Builder
	text.WriteString(indent + "- name: authenticator\n" + indent + "  image: " + o.Image + "\n" + indent + "  args:\n")
	for _, arg := range args {
		text.WriteString(indent + "  - \"" + arg + "\"\n")
	}
	return text.String() + indent + "  resources: {requests: {cpu: 20m, memory: 40Mi}, limits: {memory: 200Mi}}\n" +
		indent + "  securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}\n" +
		mounts
}

func (o Options) staticPod() string {
	mounts := `    livenessProbe: {httpGet: {host: 127.0.0.1, port: 21363, path: /healthz}, periodSeconds: 10}
    volumeMounts:
    - {name: config, mountPath: /etc/rolecall, readOnly: true}
    - {name: state, mountPath: /var/aws-iam-authenticator}
    - {name: output, mountPath: ` + o.Dir + `}
`
	return `# A server on each control-plane node, for its API server alone.
apiVersion: v1
kind: Pod
metadata:
  name: rolecall-authenticator
  namespace: kube-system
  labels: {k8s-app: rolecall-authenticator}
spec:
  hostNetwork: true
  priorityClassName: system-node-critical
  securityContext: {runAsUser: 0, seccompProfile: {type: RuntimeDefault}}
  containers:
` + o.container("  ", mounts, "--state-dir=/var/aws-iam-authenticator", "--generate-kubeconfig="+o.kubeconfig(),
		"--kubeconfig=/etc/rolecall/cluster.yaml") + `  volumes:
  - {name: config, hostPath: {path: ` + o.Dir + `, type: Directory}}
  - {name: output, hostPath: {path: ` + o.Dir + `, type: Directory}}
  - {name: state, hostPath: {path: ` + o.StateDir + `, type: DirectoryOrCreate}}
`
}

func (o Options) daemonSet() string {
	mounts := `        livenessProbe: {httpGet: {host: 127.0.0.1, port: 21363, path: /healthz}, periodSeconds: 10}
        readinessProbe: {httpGet: {host: 127.0.0.1, port: 21363, path: /readyz}, periodSeconds: 5}
        volumeMounts:
        - {name: config, mountPath: /etc/rolecall, readOnly: true}
        - {name: state, mountPath: /var/aws-iam-authenticator}
        - {name: output, mountPath: ` + o.Dir + `}
`
	return `# A server on each control-plane node, for its API server alone.
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: rolecall-authenticator
  namespace: kube-system
  labels: {k8s-app: rolecall-authenticator}
spec:
  selector: {matchLabels: {k8s-app: rolecall-authenticator}}
  template:
    metadata:
      labels: {k8s-app: rolecall-authenticator}
    spec:
      hostNetwork: true
      serviceAccountName: rolecall-authenticator
      priorityClassName: system-node-critical
      nodeSelector: {node-role.kubernetes.io/control-plane: ""}
      tolerations:
      - {key: node-role.kubernetes.io/control-plane, operator: Exists, effect: NoSchedule}
      - {key: CriticalAddonsOnly, operator: Exists}
      securityContext: {runAsUser: 0, seccompProfile: {type: RuntimeDefault}}
      containers:
` + o.container("      ", mounts, "--state-dir=/var/aws-iam-authenticator", "--generate-kubeconfig="+o.kubeconfig()) +
		`      volumes:
      - {name: config, configMap: {name: rolecall-authenticator}}
      - {name: output, hostPath: {path: ` + o.Dir + `, type: DirectoryOrCreate}}
      - {name: state, hostPath: {path: ` + o.StateDir + `, type: DirectoryOrCreate}}
`
}

func (o Options) deployment() string {
	mounts := `        ports:
        - {name: https, containerPort: ` + strconv.Itoa(o.Port) + `}
        - {name: health, containerPort: 21363}
        livenessProbe: {httpGet: {port: health, path: /healthz}, periodSeconds: 10}
        readinessProbe: {httpGet: {port: health, path: /readyz}, periodSeconds: 5}
        volumeMounts:
        - {name: config, mountPath: /etc/rolecall, readOnly: true}
        - {name: pair, mountPath: /etc/rolecall-tls, readOnly: true}
`
	address := ""
	if o.ClusterIP != "" {
		address = "\n  clusterIP: " + o.ClusterIP
	}
	return `# Two servers for all API servers, at the address of a Service. API servers must reach it
# from where they run: with --hostname an address, since they do not ask the cluster's DNS.
apiVersion: v1
kind: Service
metadata:
  name: rolecall-authenticator
  namespace: kube-system
spec:` + address + `
  selector: {k8s-app: rolecall-authenticator}
  ports:
  - {name: https, port: ` + strconv.Itoa(o.Port) + `, targetPort: https}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: rolecall-authenticator
  namespace: kube-system
spec:
  minAvailable: 1
  selector: {matchLabels: {k8s-app: rolecall-authenticator}}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: rolecall-authenticator
  namespace: kube-system
spec:
  replicas: 2
  selector: {matchLabels: {k8s-app: rolecall-authenticator}}
  template:
    metadata:
      labels: {k8s-app: rolecall-authenticator}
    spec:
      serviceAccountName: rolecall-authenticator
      priorityClassName: system-cluster-critical
      tolerations:
      - {key: node-role.kubernetes.io/control-plane, operator: Exists, effect: NoSchedule}
      securityContext: {runAsNonRoot: true, runAsUser: 65532, fsGroup: 65532, seccompProfile: {type: RuntimeDefault}}
      topologySpreadConstraints:
      - maxSkew: 1
        topologyKey: kubernetes.io/hostname
        whenUnsatisfiable: ScheduleAnyway
        labelSelector: {matchLabels: {k8s-app: rolecall-authenticator}}
      containers:
` + o.container("      ", mounts, "--address=0.0.0.0", "--tls-cert=/etc/rolecall-tls/tls.crt", "--tls-key=/etc/rolecall-tls/tls.key") +
		`      volumes:
      - {name: config, configMap: {name: rolecall-authenticator}}
      - {name: pair, secret: {secretName: rolecall-authenticator}}
`
}

// Package setup writes what a cluster needs to let people in by their AWS identities: the
// server's configuration, how API servers are told of it in the form of each way to run
// Kubernetes, and the server as a static pod, DaemonSet or Deployment (spec authenticator
// §4.4, §6.1).
//
// It makes texts and changes nothing.
package setup

import (
	"encoding/base64"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/rolecall/rolecall/internal/fault"
)

// Distribution is a way to run Kubernetes.
type Distribution string

// The distributions.
const (
	Kubeadm    Distribution = "kubeadm"
	KOps       Distribution = "kops"
	K3s        Distribution = "k3s"
	RKE2       Distribution = "rke2"
	Talos      Distribution = "talos"
	ClusterAPI Distribution = "capi"
)

// Distributions returns all.
func Distributions() []Distribution {
	return []Distribution{Kubeadm, KOps, K3s, RKE2, Talos, ClusterAPI}
}

// Workload is how the server runs.
type Workload string

// The workloads. With the first two there is a server on each control-plane node, for its
// API server alone.
const (
	StaticPod  Workload = "static-pod"
	DaemonSet  Workload = "daemonset"
	Deployment Workload = "deployment"
)

// Workloads returns all.
func Workloads() []Workload { return []Workload{StaticPod, DaemonSet, Deployment} }

// Options are what the texts are about.
type Options struct {
	Cluster string
	// Hostname and Port are where API servers reach the server; ClusterIP is that of the
	// Service of a Deployment.
	Hostname  string
	Port      int
	ClusterIP string
	Image     string
	// Dir is the folder of control-plane nodes that API servers read; StateDir is the
	// server's.
	Dir, StateDir string
	Workload      Workload
	// Certificate, Key and Kubeconfig are the files' texts.
	Certificate, Key, Kubeconfig []byte
}

// File is one that is written, or a patch.
type File struct {
	Name   string
	Text   string
	Secret bool
}

// Names of files.
const (
	ConfigFile     = "config.yaml"
	KubeconfigFile = "kubeconfig.yaml"
)

// DefaultDir is where a distribution's API servers may read a file.
func DefaultDir(d Distribution) string {
	switch d {
	case K3s:
		return "/etc/rancher/k3s/aws-iam-authenticator"
	case Talos:
		return "/var/aws-iam-authenticator"
	case KOps:
		return "/srv/kubernetes/aws-iam-authenticator"
	case Kubeadm, RKE2, ClusterAPI:
	}
	return "/etc/kubernetes/aws-iam-authenticator"
}

// For returns the files, and what to do with them, in order.
func For(d Distribution, o Options) ([]File, []string, error) {
	if err := o.check(); err != nil {
		return nil, nil, err
	}
	files := []File{{Name: ConfigFile, Text: o.config()}, o.workload()}
	if o.Workload != StaticPod {
		files = append(files, File{Name: "rbac.yaml", Text: rbac})
	}
	var steps []string
	switch o.Workload {
	case StaticPod:
		steps = append(steps, "put "+files[1].Name+" into the folder of static pods of every control-plane node, and a "+
			"kubeconfig with the rules of the guide to "+o.Dir+"/cluster.yaml (kubeadm kubeconfig user --client-name "+
			"rolecall-authenticator makes one)")
	case DaemonSet:
		steps = append(steps, "kubectl apply -f rbac.yaml -f "+files[1].Name+", and the configuration: kubectl -n kube-system create "+
			"configmap rolecall-authenticator --from-file="+ConfigFile)
	case Deployment:
		steps = append(steps, "kubectl apply -f rbac.yaml -f "+files[1].Name+", the configuration: kubectl -n kube-system create "+
			"configmap rolecall-authenticator --from-file="+ConfigFile+", and the pair: kubectl -n kube-system create secret tls "+
			"rolecall-authenticator --cert=cert.pem --key=key.pem")
	}
	var copies string
	switch o.Workload {
	case Deployment:
		copies = "copy " + KubeconfigFile + " to " + o.Dir + "/" + KubeconfigFile + " on every control-plane node"
	case StaticPod, DaemonSet:
		copies = "copy cert.pem and key.pem (0600) to " + o.StateDir + ", and " + KubeconfigFile + " to " + o.Dir +
			"/" + KubeconfigFile + ", on every control-plane node, before its API server is told of them"
	}
	file, own := o.apiServer(d)
	if d != ClusterAPI && d != Talos && d != KOps { // which write the files themselves
		steps = append([]string{copies}, steps...)
	}
	files = append(files, file)
	return files, append(steps, own...), nil
}

func (o Options) check() error {
	for what, text := range map[string]string{
		"cluster id": o.Cluster, "host name": o.Hostname, "image": o.Image, "directory": o.Dir, "state directory": o.StateDir,
	} {
		if text == "" || strings.ContainsFunc(text, func(r rune) bool {
			return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"'\{}[],#`, r)
		}) {
			return fault.New(fault.Usage, "the %s %q cannot be written into a setting", what, text)
		}
	}
	if !slices.Contains(Workloads(), o.Workload) {
		return fault.New(fault.Usage, "workload %q: want static-pod, daemonset or deployment", o.Workload)
	}
	return nil
}

func (o Options) config() string {
	return `# The server's configuration, in the form of aws-iam-authenticator.
clusterID: "` + o.Cluster + `"
server:
  # AccessEntries and IdentityMappings count first, then these, and GroupMappings last.
  backendMode: [MountedFile, EKSConfigMap]
  mapRoles: []
  # - rolearn: arn:aws:iam::111122223333:role/developer
  #   username: developer:{{SessionName}}
  #   groups: [developers]
  mapUsers: []
`
}

// argument is the API server's flag without its dashes.
const argument = "authentication-token-webhook-config-file"

func (o Options) kubeconfig() string { return path.Join(o.Dir, KubeconfigFile) }

// apiServer says how the API servers of a distribution are told.
func (o Options) apiServer(d Distribution) (File, []string) {
	file, dir := o.kubeconfig(), o.Dir
	switch d {
	case Kubeadm:
		settings := `# Merge into the ClusterConfiguration (kubeadm v1beta4).
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
apiServer:
  extraArgs:
  - name: ` + argument + `
    value: "` + file + `"
  extraVolumes:
  - name: aws-iam-authenticator
    hostPath: "` + dir + `"
    mountPath: "` + dir + `"
    readOnly: true
    pathType: Directory
`
		return File{Name: "kubeadm.yaml", Text: settings}, []string{
			"kubectl -n kube-system get configmap kubeadm-config -o jsonpath='{.data.ClusterConfiguration}' > " +
				"kubeadm-config.yaml, and merge kubeadm.yaml",
			"on each control-plane node, one after the other: kubeadm init phase control-plane apiserver --config " +
				"kubeadm-config.yaml, wait until it is ready",
			"kubeadm init phase upload-config kubeadm --config kubeadm-config.yaml, so that upgrades keep it",
		}
	case K3s, RKE2:
		name, service := string(d), map[Distribution]string{K3s: "k3s", RKE2: "rke2-server"}[d]
		text := "# Merge into /etc/rancher/" + name + "/config.yaml of every server node.\nkube-apiserver-arg:\n- \"" + argument +
			"=" + file + "\"\n"
		if d == RKE2 {
			text += "kube-apiserver-extra-mount:\n- \"" + dir + ":" + dir + ":ro\"\n"
		}
		return File{Name: name + ".yaml", Text: text}, []string{
			"merge " + name + ".yaml into /etc/rancher/" + name + "/config.yaml on every server node; static pods go to " +
				"/var/lib/rancher/" + name + "/agent/pod-manifests",
			"one node after the other: systemctl restart " + service + ", wait until it is ready",
		}
	case KOps:
		settings := `# kops edit cluster ` + o.Cluster + `: merge the fields. It holds the server's key.
spec:
  kubeAPIServer:
    authenticationTokenWebhookConfigFile: "` + file + `"
  fileAssets:
` + o.assets("  - name: %[1]s\n    path: %[2]s\n    roles: [ControlPlane]\n    isBase64: true\n    content: %[3]s\n")
		return File{Name: "kops.yaml", Secret: true, Text: settings}, []string{
			"do not set spec.authentication.aws, which starts aws-iam-authenticator",
			"kops edit cluster " + o.Cluster + ", and merge kops.yaml",
			"kops update cluster " + o.Cluster + " --yes, then kops rolling-update cluster " + o.Cluster + " --yes",
		}
	case Talos:
		settings := `# talosctl patch machineconfig --patch @this.yaml, on control-plane nodes. It holds the
# server's key.
machine:
  files:
` + o.assets("  - path: %[2]s\n    op: create\n    permissions: %[4]s\n    content: |\n%[5]s") + `cluster:
  apiServer:
    extraArgs:
      ` + argument + `: "` + file + `"
    extraVolumes:
    - hostPath: "` + dir + `"
      mountPath: "` + dir + `"
      readonly: true
`
		return File{Name: "talos.yaml", Secret: true, Text: settings}, []string{
			"talosctl -n NODE patch machineconfig --patch @talos.yaml, one control-plane node after the other",
		}
	case ClusterAPI:
		settings := `# kubectl patch kubeadmcontrolplane NAME --type merge --patch-file this.yaml; merge lists
# with those that there are. It holds the server's key.
spec:
  kubeadmConfigSpec:
    files:
` + o.assets("    - path: %[2]s\n      owner: root:root\n      permissions: \"%[4]s\"\n      encoding: base64\n      content: %[3]s\n") +
			`    clusterConfiguration:
      apiServer:
        # A list since v1beta2; before it is a map: ` + argument + `: ` + file + `
        extraArgs:
        - name: ` + argument + `
          value: "` + file + `"
        extraVolumes:
        - name: aws-iam-authenticator
          hostPath: "` + dir + `"
          mountPath: "` + dir + `"
          readOnly: true
          pathType: Directory
`
		return File{Name: "kubeadmcontrolplane-patch.yaml", Secret: true, Text: settings}, []string{
			"kubectl patch kubeadmcontrolplane NAME --type merge --patch-file kubeadmcontrolplane-patch.yaml; the control plane " +
				"is rolled machine by machine",
		}
	}
	return File{Name: "kube-apiserver.txt", Text: "--" + argument + "=" + file + "\n"}, []string{
		"add --" + argument + "=" + file + " to every API server, and restart them one after the other",
	}
}

// assets are the files of a control-plane node, each as a format says: name, path, base64,
// permissions, text.
func (o Options) assets(format string) string {
	type asset struct {
		name, path string
		text       []byte
		mode       string
	}
	all := []asset{{"authenticator-kubeconfig", o.kubeconfig(), o.Kubeconfig, "0644"}}
	if o.Workload != Deployment {
		all = append(all, asset{"authenticator-cert", path.Join(o.StateDir, "cert.pem"), o.Certificate, "0644"},
			asset{"authenticator-key", path.Join(o.StateDir, "key.pem"), o.Key, "0600"})
	}
	var text strings.Builder
	for _, one := range all {
		var indented strings.Builder
		for line := range strings.Lines(string(one.text)) {
			indented.WriteString("      " + line)
		}
		args := []any{one.name, one.path, base64.StdEncoding.EncodeToString(one.text), one.mode, indented.String()}
		text.WriteString(expand(format, args))
	}
	return text.String()
}

func expand(format string, args []any) string {
	for i, arg := range args {
		format = strings.ReplaceAll(format, "%["+strconv.Itoa(i+1)+"]s", fmt.Sprint(arg))
	}
	return format
}

package apiserverflags

import (
	"fmt"
	"strings"
)

// extraArgs are kubeadm's, as a list, since an argument may be given twice.
func extraArgs(issuer Issuer, indent string) string {
	var text strings.Builder
	for _, argument := range issuer.arguments() {
		fmt.Fprintf(&text, "%s- {name: %s, value: %q}\n", indent, argument.name, argument.value)
	}
	return text.String()
}

func kubeadm(issuer Issuer) Settings {
	s := Settings{
		File: "kubeadm.yaml",
		Text: `# Merge into the ClusterConfiguration (kubeadm v1beta4). In v1beta3 extraArgs is a
# map and accepts one issuer only: move to v1beta4 (kubeadm config migrate) first.
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
apiServer:
  extraArgs:
` + extraArgs(issuer, "  "),
		Steps: []string{
			"kubectl -n kube-system get configmap kubeadm-config -o jsonpath='{.data.ClusterConfiguration}' > kubeadm-config.yaml, and merge the patch",
			"on each control-plane node, one after the other: kubeadm init phase control-plane apiserver --config kubeadm-config.yaml, wait until it is ready",
			"kubeadm init phase upload-config kubeadm --config kubeadm-config.yaml, so that upgrades keep it",
		},
	}
	if issuer.OwnKeys {
		s.Steps = append([]string{"for a new cluster, before kubeadm init: copy sa.key (0600) and sa.pub to /etc/kubernetes/pki of every control-plane node; in a running one keep its keys: rolecall issuer init --kubeconfig FILE"}, s.Steps...)
	}
	return s
}

func capi(issuer Issuer) Settings {
	namespace := issuer.Namespace
	if namespace == "" {
		namespace = "default"
	}
	s := Settings{
		File: "kubeadmcontrolplane-patch.yaml",
		Text: `# kubectl patch kubeadmcontrolplane NAME --type merge --patch-file this.yaml
# For API versions whose extraArgs is a list; where it is a map (v1beta1), only the
# static pod's manifest can hold two issuers.
spec:
  kubeadmConfigSpec:
    clusterConfiguration:
      apiServer:
        extraArgs:
` + extraArgs(issuer, "        "),
		Steps: []string{
			"merge the list with the existing arguments: a merge patch replaces lists",
			"kubectl -n " + namespace + " patch kubeadmcontrolplane NAME --type merge --patch-file kubeadmcontrolplane-patch.yaml; the control plane is rolled machine by machine",
			"the cluster's public keys are in Secret " + namespace + "/" + issuer.Cluster + "-sa: rolecall issuer jwks --kubeconfig MANAGEMENT_CLUSTER --secret " + namespace + "/" + issuer.Cluster + "-sa",
		},
	}
	if issuer.OwnKeys {
		s.Steps = append([]string{"for a new cluster, before it is created: kubectl -n " + namespace + " create secret generic " + issuer.Cluster + "-sa --type=cluster.x-k8s.io/secret --from-file=tls.key=sa.key --from-file=tls.crt=sa.pub (tls.crt is the public key, not a certificate)"}, s.Steps...)
	}
	return s
}

func kops(issuer Issuer) Settings {
	store := "s3://BUCKET"
	if issuer.Bucket != "" {
		store = strings.TrimSuffix("s3://"+issuer.Bucket+"/"+issuer.Prefix, "/")
	}
	return Settings{
		File: "kops.yaml",
		Text: fmt.Sprintf(`# kops edit cluster %s; additionalServiceAccountIssuers needs kOps 1.28.5.
# kOps publishes to discoveryStore by itself, and registers and mounts the audience
# amazonaws.com: sts.amazonaws.com is added here.
spec:
  serviceAccountIssuerDiscovery:
    discoveryStore: %s
    enableAWSOIDCProvider: true
    additionalAudiences: [sts.amazonaws.com]
  kubeAPIServer:
    serviceAccountIssuer: %q
    serviceAccountJWKSURI: %q
    additionalServiceAccountIssuers: [%q]
    apiAudiences: [%q, %q]
`, issuer.Cluster, store, issuer.URL, issuer.JWKSURI, issuer.Present, issuer.URL, issuer.Present),
		Steps: []string{
			"kops edit cluster " + issuer.Cluster + ", and merge the fields",
			"kops update cluster " + issuer.Cluster + " --yes",
			"kops rolling-update cluster " + issuer.Cluster + " --yes",
			"keys are rotated by kOps' own keysets: kops create keypair service-account, promote, distrust, a rolling-update between each",
		},
	}
}

func rancher(name string, issuer Issuer) Settings {
	var text strings.Builder
	fmt.Fprintf(&text, "# Merge into /etc/rancher/%s/config.yaml of every server node.\nkube-apiserver-arg:\n", name)
	for _, argument := range issuer.arguments() {
		if argument.name == "api-audiences" {
			argument.value += "," + name // which the distribution has beside its issuer
		}
		fmt.Fprintf(&text, "- %q\n", argument.name+"="+argument.value)
	}
	service := map[string]string{"k3s": "k3s", "rke2": "rke2-server"}[name]
	s := Settings{
		File: name + ".yaml", Text: text.String(),
		Steps: []string{
			"merge into /etc/rancher/" + name + "/config.yaml on every server node",
			"one node after the other: systemctl restart " + service + ", wait until it is ready",
			"the key is /var/lib/rancher/" + name + "/server/tls/service.key: the first block signs, all verify; to rotate, " + name + " certificate rotate-ca --path=DIR with service.key = new key followed by the old",
		},
	}
	if issuer.OwnKeys {
		s.Steps = append([]string{"for a new cluster, before the first server starts: copy sa.key to /var/lib/rancher/" + name + "/server/tls/service.key (0600)"}, s.Steps...)
	}
	return s
}

func talos(issuer Issuer) Settings {
	s := Settings{
		File: "talos.yaml",
		Text: fmt.Sprintf(`# talosctl patch machineconfig --patch @this.yaml, on control-plane nodes. Lists
# need a recent release; older ones accept one value, and so cannot keep the present
# issuer: upgrade first.
cluster:
  apiServer:
    extraArgs:
      service-account-issuer: [%q, %q]
      service-account-jwks-uri: %q
      api-audiences: %q
`, issuer.URL, issuer.Present, issuer.JWKSURI, issuer.URL+","+issuer.Present),
		Steps: []string{
			"talosctl -n NODE patch machineconfig --patch @talos.yaml, one control-plane node after the other",
			"clusters first created before Talos 1.7 sign with ECDSA P-256, which AWS accepts",
		},
	}
	if issuer.OwnKeys {
		s.Steps = append([]string{"for a new cluster: cluster.serviceAccount.key is the base64 of sa.key"}, s.Steps...)
	}
	return s
}

func eksAnywhere(issuer Issuer) Settings {
	return Settings{
		File: "eks-anywhere.yaml",
		Text: fmt.Sprintf(`# Merge into the Cluster of the EKS Anywhere cluster file.
apiVersion: anywhere.eks.amazonaws.com/v1alpha1
kind: Cluster
metadata:
  name: %s
spec:
  podIamConfig:
    serviceAccountIssuer: %q
# The field accepts one issuer. In a running cluster whose present issuer is
#   %s
# add that as a second --service-account-issuer of the API servers first, or every
# token there is will be refused after the upgrade.
`, issuer.Cluster, issuer.URL, issuer.Present),
		Steps: []string{
			"set it in the cluster file before eksctl anywhere create cluster; for a running cluster, eksctl anywhere upgrade cluster",
			"the cluster makes its own keys: rolecall issuer jwks --kubeconfig MANAGEMENT_CLUSTER --secret eksa-system/" + issuer.Cluster + "-sa",
		},
	}
}

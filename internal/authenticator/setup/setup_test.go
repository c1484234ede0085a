package setup_test

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/internal/authenticator/peerconfig"
	"github.com/rolecall/rolecall/internal/authenticator/setup"
	"github.com/rolecall/rolecall/internal/fault"
)

func options(workload setup.Workload, d setup.Distribution) setup.Options {
	o := setup.Options{
		Cluster: "prod.example.com", Hostname: "localhost", Port: 21362, Image: "registry.example.com/rolecall:1",
		Dir: setup.DefaultDir(d), StateDir: "/var/aws-iam-authenticator", Workload: workload,
		Certificate: []byte("CERT\nCERT\n"), Key: []byte("KEY\nKEY\n"), Kubeconfig: []byte("kind: Config\n"),
	}
	if workload == setup.Deployment {
		o.Hostname, o.ClusterIP = "10.96.0.77", "10.96.0.77"
	}
	return o
}

// TestEveryForm: for each distribution and workload the files are what they are for: YAML
// without a key twice, workloads and rules as Kubernetes knows them, and the API server's
// flag with a file that it can read.
func TestEveryForm(t *testing.T) {
	t.Parallel()
	for _, d := range setup.Distributions() {
		for _, workload := range setup.Workloads() {
			o := options(workload, d)
			files, steps, err := setup.For(d, o)
			if err != nil || len(steps) < 2 {
				t.Fatalf("%s, %s: %v %v", d, workload, steps, err)
			}
			flag, key := false, false
			for _, file := range files {
				for document := range strings.SplitSeq(file.Text, "\n---\n") {
					check(t, string(d)+" "+file.Name, document)
				}
				flag = flag || strings.Contains(file.Text, "authentication-token-webhook-config-file") && strings.Contains(file.Text, o.Dir+"/kubeconfig.yaml") ||
					strings.Contains(file.Text, "authenticationTokenWebhookConfigFile: \""+o.Dir+"/kubeconfig.yaml\"")
				if strings.Contains(file.Text, "KEY") || strings.Contains(file.Text, "S0VZCktFWQo=") {
					key = true
					if !file.Secret {
						t.Errorf("%s, %s: %s has the key and is no secret", d, workload, file.Name)
					}
				}
			}
			if !flag {
				t.Errorf("%s, %s: no file tells the API server", d, workload)
			}
			writes := d == setup.KOps || d == setup.Talos || d == setup.ClusterAPI
			if key != (writes && workload != setup.Deployment) {
				t.Errorf("%s, %s: the key is in a file: %t", d, workload, key)
			}
		}
	}
}

// check decodes a document strictly.
func check(t *testing.T, name, document string) {
	t.Helper()
	var object map[string]any
	if err := yaml.UnmarshalStrict([]byte(document), &object); err != nil {
		t.Errorf("%s: %v\n%s", name, err, document)
		return
	}
	kind, _ := object["kind"].(string)
	into := map[string]any{
		"Pod": &corev1.Pod{}, "DaemonSet": &appsv1.DaemonSet{}, "Deployment": &appsv1.Deployment{}, "Service": &corev1.Service{},
		"PodDisruptionBudget": &policyv1.PodDisruptionBudget{}, "ServiceAccount": &corev1.ServiceAccount{},
		"ClusterRole": &rbacv1.ClusterRole{}, "ClusterRoleBinding": &rbacv1.ClusterRoleBinding{}, "Role": &rbacv1.Role{},
		"RoleBinding": &rbacv1.RoleBinding{},
	}[kind]
	if into == nil {
		return
	}
	if err := yaml.UnmarshalStrict([]byte(document), into); err != nil {
		t.Errorf("%s: %v\n%s", name, err, document)
	}
}

// TestConfig is one that the server reads, of which all counts.
func TestConfig(t *testing.T) {
	t.Parallel()
	files, _, err := setup.For(setup.Kubeadm, options(setup.StaticPod, setup.Kubeadm))
	if err != nil {
		t.Fatal(err)
	}
	config, err := peerconfig.Parse([]byte(files[0].Text))
	if err != nil || len(config.Notes) > 0 || len(config.Settings) != 2 || !config.Lists {
		t.Errorf("%+v %v", config, err)
	}
}

// TestNamesThatBreakOut are refused: nothing that is given makes a setting of its own.
func TestNamesThatBreakOut(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "a b", "a\nb: c", `a"`, "a'", "{a}", "a,b", "a#b"} {
		for name, change := range map[string]func(*setup.Options){
			"cluster": func(o *setup.Options) { o.Cluster = bad }, "host": func(o *setup.Options) { o.Hostname = bad },
			"image": func(o *setup.Options) { o.Image = bad }, "dir": func(o *setup.Options) { o.Dir = bad },
			"state": func(o *setup.Options) { o.StateDir = bad }, "workload": func(o *setup.Options) { o.Workload = setup.Workload(bad) },
		} {
			o := options(setup.StaticPod, setup.Kubeadm)
			change(&o)
			if _, _, err := setup.For(setup.Kubeadm, o); fault.KindOf(err) != fault.Usage {
				t.Errorf("%s %q: %v", name, bad, err)
			}
		}
	}
}

package inject_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/inject"
)

// readOn are all annotations but the role's, and what they are read on.
var readOn = map[string][]string{
	"audience":               {"service account"},
	"sts-regional-endpoints": {"service account"},
	"token-expiration":       {"service account", "pod"},
	"skip-containers":        {"pod"},
	"region":                 {"service account", "pod"},
	"skip-region-injection":  {"service account", "pod"},
	"role-session-name":      {"service account", "pod"},
	"use-fips-endpoint":      {"service account", "pod"},
	"use-dualstack-endpoint": {"service account", "pod"},
	"ec2-metadata-disabled":  {"service account", "pod"},
	"sts-endpoint-url":       {"service account", "pod"},
	"retry-mode":             {"service account", "pod"},
	"max-attempts":           {"service account", "pod"},
	"sdk-app-id":             {"service account", "pod"},
}

// misspelt are the ways in which people write an annotation's key wrongly.
func misspelt(prefix, name string) map[string]string {
	upper := strings.ToUpper(name[:1]) + name[1:]
	kinds := map[string]string{
		"another domain, capital": "eks.amazon.com/" + upper,
		"another domain":          "eks.amazon.com/" + name,
		"another domain of AWS":   "iam.amazonaws.com/" + name,
		"a domain too long":       "eks.amazonaws.com.cn/" + name,
		"a letter of the domain":  strings.Replace(prefix, "m", "n", 1) + "/" + name,
		"letters exchanged":       prefix + "/" + name[:1] + name[2:3] + name[1:2] + name[3:],
		"a letter missing":        prefix + "/" + name[:3] + name[4:],
		"a letter too much":       prefix + "/" + name + "s",
		"another letter":          prefix + "/" + name[:2] + "q" + name[3:],
		"a capital":               prefix + "/" + upper,
		"capitals":                prefix + "/" + strings.ToUpper(name),
		"a dot for the slash":     prefix + "." + name,
		"a hyphen for the slash":  prefix + "-" + name,
		"no slash":                prefix + name,
		"capital domain":          strings.ToUpper(prefix) + "/" + name,
	}
	if strings.Contains(name, "-") {
		kinds["underscores"] = prefix + "/" + strings.ReplaceAll(name, "-", "_")
		kinds["dots"] = prefix + "/" + strings.ReplaceAll(name, "-", ".")
		kinds["no hyphens"] = prefix + "/" + strings.ReplaceAll(name, "-", "")
		kinds["underscores, another domain"] = "eks.amazon.com/" + strings.ReplaceAll(name, "-", "_")
	}
	switch name {
	case "audience", "sts-regional-endpoints", "token-expiration", "skip-containers":
		kinds["no domain"] = name
	}
	if end, found := strings.CutSuffix(name, "s"); found {
		kinds["singular"] = prefix + "/" + end
	}
	return kinds
}

// warningsOf are those about an account with a role, or a pod of one.
func warningsOf(t *testing.T, on string, have map[string]string, settings inject.Settings) []string {
	t.Helper()
	ofAccount, ofPod := map[string]string{settings.Prefix + "/role-arn": roleARN}, map[string]string{}
	for key, value := range have {
		if on == "pod" {
			ofPod[key] = value
		} else {
			ofAccount[key] = value
		}
	}
	result, err := inject.Pod(
		podOf(`"annotations":`+string(encode(t, ofPod)), oneContainer), inject.ReadAccount(ofAccount, settings), settings,
	)
	if err != nil {
		t.Fatal(err)
	}
	return result.Warnings
}

// TestSlips: every annotation, written wrongly in every way, on what it is read on and on
// what it is not, is warned of once; rightly written it is not.
func TestSlips(t *testing.T) {
	t.Parallel()
	values := map[string]string{
		"sts-regional-endpoints": "true", "token-expiration": "3600", "skip-containers": "a", "region": "eu-west-1",
		"skip-region-injection": "true", "role-session-name": "session", "use-fips-endpoint": "true",
		"use-dualstack-endpoint": "true", "ec2-metadata-disabled": "true", "sts-endpoint-url": "https://sts.example.com",
		"retry-mode": "standard", "max-attempts": "3", "sdk-app-id": "shop", "audience": "sts.amazonaws.com",
	}
	for _, prefix := range []string{"eks.amazonaws.com", "identity.example.com"} {
		settings := inject.Defaults()
		settings.Prefix = prefix
		for name, places := range readOn {
			right := prefix + "/" + name
			for _, on := range []string{"service account", "pod"} {
				other := map[string]string{"pod": "service account", "service account": "pod"}[on]
				belongs := strings.Contains(strings.Join(places, ","), on)
				said := strings.Join(warningsOf(t, on, map[string]string{right: values[name]}, settings), "\n")
				want := fmt.Sprintf("annotation %s of a %s is not read; it belongs on the %s", right, on, other)
				if belongs {
					want = ""
				}
				if said != want {
					t.Errorf("%s on a %s: %q, want %q", right, on, said, want)
				}
				for kind, key := range misspelt(prefix, name) {
					want := fmt.Sprintf("annotation %s is not read; what it seems to mean is %s", key, right)
					if !belongs {
						want += ", which belongs on the " + other
					}
					said := strings.Join(warningsOf(t, on, map[string]string{key: values[name]}, settings), "\n")
					if said != want {
						t.Errorf("%s on a %s: %q, want %q", kind, on, said, want)
					}
					both := map[string]string{key: values[name], right: values[name]}
					if said := warningsOf(t, on, both, settings); belongs && len(said) > 0 {
						t.Errorf("%s on a %s, beside the right one: %q", kind, on, said)
					}
					both[key] += " "
					said = strings.Join(warningsOf(t, on, both, settings), "\n")
					if belongs && (said == want) != strings.HasPrefix(key, prefix+"/") {
						t.Errorf("%s on a %s, beside the right one with another value: %q", kind, on, said)
					}
				}
			}
		}
	}
}

// TestSlipsOfAccountsWithoutARole are warned of beside the role's own.
func TestSlipsOfAccountsWithoutARole(t *testing.T) {
	t.Parallel()
	account := inject.ReadAccount(map[string]string{
		"eks.amazon.com/role-arn": roleARN, "eks.amazon.com/audience": "a",
	}, inject.Defaults())
	said := strings.Join(inject.Unread([]byte(`{}`), &account, inject.Defaults()), "\n")
	for _, key := range []string{"role-arn", "audience"} {
		if !strings.Contains(said, "annotation eks.amazon.com/"+key+" is not read; ") {
			t.Errorf("%s: %q", key, said)
		}
	}
}

// TestOthersAnnotations: what other programs read is not warned of, nor anything where the
// reference's very behaviour is asked for.
func TestOthersAnnotations(t *testing.T) {
	t.Parallel()
	others := []string{
		"eks.amazonaws.com/compute-type", "eks.amazonaws.com/nodegroup", "eks.amazonaws.com/fargate-profile",
		"iam.amazonaws.com/allowed-roles", "iam.amazonaws.com/external-id", "iam.amazonaws.com/permitted",
		"vpc.amazonaws.com/pod-ips", "k8s.amazonaws.com/eniConfig", "cloudwatch.aws.amazon.com/auto-annotate-java",
		"appmesh.k8s.aws/sidecarInjectorWebhook", "karpenter.sh/do-not-disrupt", "sidecar.istio.io/inject",
		"service.beta.kubernetes.io/aws-load-balancer-type", "topology.kubernetes.io/region", "region",
		"example.com/region", "example.com/audience", "example.com/token-expiration", "retry-mode", "max-attempts",
		"vault.hashicorp.com/skip-containers", "prometheus.io/scrape", "checksum/config", "",
		"kubectl.kubernetes.io/last-applied-configuration", "kubectl.kubernetes.io/restartedAt", "/", "eks.amazonaws.com/",
	}
	for _, on := range []string{"service account", "pod"} {
		for _, key := range others {
			if said := warningsOf(t, on, map[string]string{key: "x"}, inject.Defaults()); len(said) > 0 {
				t.Errorf("%q on a %s: %q", key, on, said)
			}
		}
		settings := inject.Defaults()
		settings.Conformance = true
		wrong := map[string]string{"eks.amazon.com/audience": "x", "eks.amazonaws.com/skip_containers": "x"}
		if said := warningsOf(t, on, wrong, settings); len(said) > 0 {
			t.Errorf("on a %s as the reference does: %q", on, said)
		}
	}
	label := map[string]string{inject.SkipLabel: "true"}
	if said := strings.Join(warningsOf(t, "pod", label, inject.Defaults()), "\n"); !strings.Contains(said, "it is a label") {
		t.Errorf("the label as an annotation: %q", said)
	}
}

// TestSkipOfNoContainer: names to skip of which no container is one.
func TestSkipOfNoContainer(t *testing.T) {
	t.Parallel()
	const containers = `"containers":[{"name":"a"},{"name":"b"}],"initContainers":[{"name":"first"}]`
	for value, want := range map[string][]string{
		"":               nil,
		"a":              nil,
		"a, first":       nil,
		"a,":             nil,
		"sidecar":        {"sidecar"},
		"A,b":            {"A"},
		"a;b":            {"a;b"},
		"a b":            {"a b"},
		`"a","x",first2`: {"x", "first2"},
	} {
		pod := podOf(`"annotations":{"eks.amazonaws.com/skip-containers":`+string(encode(t, value))+`}`, containers)
		var said []string
		for _, name := range want {
			said = append(said, fmt.Sprintf(
				"annotation eks.amazonaws.com/skip-containers names %q, and the pod has no such container", name))
		}
		settings := inject.Defaults()
		if got := mustPod(t, pod, nil, settings).Warnings; strings.Join(got, "\n") != strings.Join(said, "\n") {
			t.Errorf("%q: %q, want %q", value, got, said)
		}
		settings.Conformance = true
		if got := mustPod(t, pod, nil, settings).Warnings; len(got) > 0 {
			t.Errorf("%q as the reference does: %q", value, got)
		}
	}
}

package peerconfig_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/authenticator/peerconfig"
)

const whole = `
clusterID: prod.example.com
defaultRole: arn:aws:iam::111122223333:role/x
log-verbosity: debug
feature-gates: {SSORoleMatch: true, IAMIdentityMappingCRD: false}
SERVER:
  partition: aws-cn
  address: 0.0.0.0
  port: 21400
  hostname: auth.example.com
  statedir: /state
  generateKubeconfig: /k.yaml
  kubeconfigPregenerated: true
  kubeconfig: /kube
  master: https://m
  backendMode: [EKSConfigMap, DynamicFile]
  ec2DescribeInstancesQps: 7
  ec2DescribeInstancesBurst: 8
  ec2DescribeInstancesRoleARN: arn:aws:iam::111122223333:role/ec2
  sourceARN: arn:aws:eks:x
  scrubbedAccounts: [012345678901, "111122223333"]
  mapRoles: []
  dynamicfilepath: /dynamic.json
  dynamicfileUserIDStrict: true
  dynamicBackendModePath: /mode.json
  reservedPrefixConfig:
  - backendmode: EKSConfigMap
    usernamePrefixReserveList: ["system:", "eks:"]
  - backendMode: File
    usernamePrefixReserveList: ["aws:"]
    groupPrefixReserveList: ["system:"]
`

// TestEveryKey: each key of the peer is read, by its flag or by itself.
func TestEveryKey(t *testing.T) {
	t.Parallel()
	c, err := peerconfig.Parse([]byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	flags := map[string]string{}
	for _, s := range c.Settings {
		if s.Line == 0 {
			t.Errorf("%s has no line", s.Key)
		}
		flags[s.Flag] = s.Value
	}
	want := map[string]string{
		"cluster-id": "prod.example.com", "log-verbosity": "debug",
		"feature-gates": "SSORoleMatch=true,IAMIdentityMappingCRD=false", "partition": "aws-cn", "address": "0.0.0.0",
		"port": "21400", "hostname": "auth.example.com", "state-dir": "/state", "generate-kubeconfig": "/k.yaml",
		"kubeconfig-pregenerated": "true", "kubeconfig": "/kube", "master": "https://m",
		"backend-mode": "EKSConfigMap,DynamicFile", "ec2-describeInstances-qps": "7", "ec2-describeInstances-burst": "8",
	}
	if diff := cmp.Diff(want, flags); diff != "" {
		t.Error(diff)
	}
	c.Settings = nil
	if diff := cmp.Diff(&peerconfig.Config{
		EC2Role: "arn:aws:iam::111122223333:role/ec2", EC2Source: "arn:aws:eks:x",
		Scrubbed: []string{"012345678901", "111122223333"}, Lists: true, DynamicFile: "/dynamic.json", DynamicStrict: true,
		BackendModeFile: "/mode.json",
		ReservedUsernames: map[access.Source][]string{
			access.EKSConfigMap: {"system:", "eks:"}, access.MountedFile: {"aws:"},
		},
		ReservedGroups: map[access.Source][]string{access.EKSConfigMap: nil, access.MountedFile: {"system:"}},
		Notes: []peerconfig.Note{{
			Key: "defaultRole", Line: 3,
			Text: "a server assumes no role for its callers; aws-iam-authenticator does not read it either",
		}},
	}, c); diff != "" {
		t.Error(diff)
	}
	for _, key := range peerconfig.Keys {
		last := key.Name[strings.LastIndexByte(key.Name, '.')+1:]
		if !strings.Contains(strings.ToLower(whole), strings.ToLower(last)+":") &&
			last != "mapUsers" && last != "mapAccounts" && last != "log-format" {
			t.Errorf("%s is not tried", key.Name)
		}
	}
}

// TestFiles that say nothing, something else, or the same twice.
func TestFiles(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ text, note, err string }{
		{"", "", ""},
		{"---\n", "", ""},
		{"server:\n", "", ""},
		{"server: {}\nclusterID:\n", "", ""},
		{"clusterId: a", "", ""},
		{"clusterIDs: a", "did you mean clusterID?", ""},
		{"address: a", "did you mean server.address?", ""},
		{"something: a", "nobody reads it", ""},
		{"clusterID: a\nCLUSTERID: b", "", "line 2: CLUSTERID is there twice"},
		{"- a", "", "line 1: want keys and values"},
		{"server: [a]", "", "line 1: server: want keys and values"},
		{"a: [", "", "it is not YAML"},
		{"server:\n  scrubbedAccounts: a", "", "line 2: server.scrubbedAccounts: want a list"},
		{"server:\n  dynamicfileUserIDStrict: maybe", "", "want true or false"},
		{"server:\n  reservedPrefixConfig: [{usernamePrefixReserveList: [a]}]", "", "backendMode is missing"},
		{"server:\n  reservedPrefixConfig: [{backendMode: X}]", "", `backend mode "X" is not known`},
		{"clusterID: {a: [b]}", "", ""},
		{"server:\n  backendMode: CRD MountedFile", "", ""},
	} {
		c, err := peerconfig.Parse([]byte(row.text))
		if (err == nil) != (row.err == "") || err != nil && !strings.Contains(err.Error(), row.err) {
			t.Errorf("%q: %v; want %s", row.text, err, row.err)
			continue
		}
		notes := ""
		if c != nil {
			for _, note := range c.Notes {
				notes += note.Text
			}
		}
		if !strings.Contains(notes, row.note) || row.note == "" && notes != "" {
			t.Errorf("%q: notes %q; want %q", row.text, notes, row.note)
		}
	}
}

// TestBackends are the peer's names and aliases, in order, each once.
func TestBackends(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ names, want string }{
		{"MountedFile", "MountedFile"},
		{"File ConfigMap CRD DynamicFile", "MountedFile EKSConfigMap CRD DynamicFile"},
		{"EKSConfigMap MountedFile", "EKSConfigMap MountedFile"},
		{"EKSConfigMap ConfigMap", ""},
		{"CRD CRD", ""},
		{"crd", ""},
		{"", ""},
		{"AccessEntry", ""},
	} {
		got, err := peerconfig.ParseBackends(strings.Fields(row.names))
		var names []string
		for _, one := range got {
			names = append(names, string(one))
		}
		if strings.Join(names, " ") != row.want || (err == nil) != (row.want != "") {
			t.Errorf("%q: %v, %v", row.names, got, err)
		}
	}
}

// FuzzParse: whatever the file holds, it is read or refused.
func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("server: &s\n  partition: *s"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := peerconfig.Parse(text)
		if (c == nil) == (err == nil) {
			t.Errorf("%v, %v", c, err)
		}
	})
}

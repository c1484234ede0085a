// Package injectcase reads the golden cases of test/conformance/inject and says
// what each must result in, for every test that runs them: against the pure
// function, and against the HTTPS server.
//
// It does not use the patch code under test.
package injectcase

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/rolecall/rolecall/internal/inject"
	"github.com/rolecall/rolecall/test/checkout"
)

// Role is the cases' R.
const Role = "arn:aws:iam::111122223333:role/r"

// Namespace and ServiceAccount are whose the cases' pods are.
const (
	Namespace      = "n"
	ServiceAccount = "s"
)

// Case is a row of spec webhook §15.
type Case struct {
	Name, What string
	Settings   struct {
		Prefix, Region, MountPath        string
		RegionalSTS, ConfigGlobs         bool
		Expiration                       int64
		ComposeAccount, ComposePartition string
	}
	// Account is nil if the service account is not known.
	Account map[string]string
	// Config is the ConfigMap's document.
	Config json.RawMessage
	// Identities are those of the identities file.
	Identities []inject.Name
	Pod        json.RawMessage
	// Want is what the reference does, and Fixed what ours does outside conformance
	// mode where that is something else.
	Want  Outcome
	Fixed *Outcome
	// Missing is by how much the counter of missing accounts grows.
	Missing int
}

// Read returns all cases.
func Read(t testing.TB) []Case {
	t.Helper()
	root, err := checkout.Root()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(root, "test", "conformance", "inject", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []Case
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var content struct{ Cases []Case }
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&content); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		cases = append(cases, content.Cases...)
	}
	checkRows(t, cases)
	return cases
}

// checkRows: those of spec webhook §15 rows 1 to 72 are all there; 73 to 77 are not
// about one pod and have tests of their own.
func checkRows(t testing.TB, cases []Case) {
	t.Helper()
	for row := 1; row <= 72; row++ {
		if !slices.ContainsFunc(cases, func(c Case) bool { return c.Name == fmt.Sprintf("webhook §15 row %d", row) }) {
			t.Errorf("row %d is missing", row)
		}
	}
}

// Set returns the webhook's settings.
func (c *Case) Set(conformance bool) inject.Settings {
	s, given := inject.Defaults(), c.Settings
	s.Conformance, s.ConfigGlobs = conformance, given.ConfigGlobs
	s.Region, s.RegionalSTS = given.Region, given.RegionalSTS
	s.ComposeAccount, s.ComposePartition = given.ComposeAccount, given.ComposePartition
	if given.Prefix != "" {
		s.Prefix = given.Prefix
	}
	if given.MountPath != "" {
		s.MountPath = given.MountPath
	}
	if given.Expiration != 0 {
		s.Expiration = given.Expiration
	}
	return s
}

// Expect returns the outcome that holds.
func (c *Case) Expect(conformance bool) *Outcome {
	if !conformance && c.Fixed != nil {
		return c.Fixed
	}
	return &c.Want
}

// ParseConfig returns the ConfigMap's identities, nil if the case has none.
func (c *Case) ParseConfig(t testing.TB, settings inject.Settings) *inject.Config {
	t.Helper()
	if c.Config == nil {
		return nil
	}
	config, problems, err := inject.ParseConfig(c.Config, settings)
	if err != nil || len(problems) > 0 {
		t.Fatalf("%s: %v %v", c.Name, err, problems)
	}
	return config
}

// Known says what a webhook would know of a pod's account.
func (c *Case) Known(t testing.TB, settings inject.Settings, serviceAccount string, jitter int64) inject.Known {
	t.Helper()
	if serviceAccount == "" {
		return inject.Known{} // a mirror pod's name stays unmatched
	}
	name := inject.Name{Namespace: Namespace, ServiceAccount: serviceAccount}
	known := inject.Known{PodIdentity: slices.Contains(c.Identities, name), Jitter: jitter}
	if c.Account != nil && serviceAccount == ServiceAccount {
		account := inject.ReadAccount(c.Account, settings)
		known.Account = &account
	}
	known.Config, known.ConfigExact = c.ParseConfig(t, settings).Find(name)
	return known
}

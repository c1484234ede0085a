package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/rolecall/rolecall/test/checkout"
)

// podsOfKind is of how many accounts of each kind there is a pod.
const podsOfKind = 100

// pods are reviews, by the kind of their accounts.
type pods [len(kinds)][]string

// readPods has the review of the benchmarks for accounts of each kind.
func readPods(accounts int) (*pods, error) {
	root, err := checkout.Root()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(root, "internal", "webhook", "testdata", "review.json"))
	if err != nil {
		return nil, err
	}
	var all pods
	for kind := range kinds {
		for i := range min(accounts, podsOfKind) {
			all[kind] = append(
				all[kind], strings.ReplaceAll(string(text), `"SERVICEACCOUNT"`, `"`+accountName(kind, i)+`"`),
			)
		}
	}
	return &all, nil
}

// injectTheSame waits until each webhook knows the accounts, and fails if one makes
// something else of a pod than the first.
func injectTheSame(ctx context.Context, hooks []hook, authority []byte, all *pods) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	client := &http.Client{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}},
	}
	defer client.CloseIdleConnections()
	for i := range all[withRole] {
		var first any
		for _, one := range hooks {
			pod, err := untilInjected(ctx, client, one, all[withRole][i], roleARN(i))
			if err != nil {
				said, _ := os.ReadFile(one.log)
				return fmt.Errorf(
					"%s, a pod of %s: %w\nit said last: %s", one.Name, accountName(withRole, i), err,
					said[max(0, len(said)-2000):],
				)
			}
			if first == nil {
				first = pod
			}
			if diff := cmp.Diff(first, pod); diff != "" {
				return fmt.Errorf(
					"pods of %s are made another by %s (-%s +%s):\n%s", accountName(withRole, i), one.Name,
					hooks[0].Name, one.Name, diff,
				)
			}
		}
	}
	for i, review := range all[withoutRole] {
		for _, one := range hooks {
			pod, err := ask(ctx, client, one.url, review)
			if err != nil {
				return fmt.Errorf("%s: %w", one.Name, err)
			}
			if pod != nil {
				return fmt.Errorf("%s injects into a pod of %s: %v", one.Name, accountName(withoutRole, i), pod)
			}
		}
	}
	return nil
}

// untilInjected asks until the pod has the role, and returns it.
func untilInjected(ctx context.Context, client *http.Client, one hook, review, role string) (any, error) {
	for {
		pod, err := ask(ctx, client, one.url, review)
		if pod != nil {
			if text, _ := json.Marshal(pod); !bytes.Contains(text, []byte(role)) {
				return nil, fmt.Errorf("not %s is injected: %s", role, text)
			}
			return pod, nil
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(errors.New("nothing is injected"), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// ask returns the pod as it becomes; nil if it stays as it is.
func ask(ctx context.Context, client *http.Client, url, body string) (any, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	var asked, answered admissionv1.AdmissionReview
	if err := errors.Join(json.Unmarshal([]byte(body), &asked), json.Unmarshal(text, &answered)); err != nil {
		return nil, fmt.Errorf("answer %.200q: %w", text, err)
	}
	switch {
	case answered.Response == nil || answered.Response.UID != asked.Request.UID || !answered.Response.Allowed:
		return nil, fmt.Errorf("answer %.200q", text)
	case len(answered.Response.Patch) == 0:
		return nil, nil
	}
	patch, err := jsonpatch.DecodePatch(answered.Response.Patch)
	if err != nil {
		return nil, err
	}
	patched, err := patch.Apply(asked.Request.Object.Raw)
	if err != nil {
		return nil, fmt.Errorf("apply %s: %w", answered.Response.Patch, err)
	}
	var pod any
	err = json.Unmarshal(patched, &pod)
	return pod, err
}

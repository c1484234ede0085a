package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/rolecall/rolecall/internal/pki"
	"github.com/rolecall/rolecall/test/cluster"
	"github.com/rolecall/rolecall/test/contender"
)

// namespace is that of the reviews.
const namespace = "n"

// kinds are what a service account may have; its name begins with it.
var kinds = [...]string{withoutRole: "plain", withRole: "role"}

const (
	withoutRole = iota
	withRole
)

func accountName(kind, i int) string { return fmt.Sprintf("%s-%d", kinds[kind], i) }

func roleARN(i int) string { return fmt.Sprintf("arn:aws:iam::111122223333:role/team/app-%d", i) }

// startCluster has an API server with so many accounts of each kind.
func startCluster(ctx context.Context, dir string, accounts int) (kubeconfig string, stop func(), err error) {
	c, stop, err := cluster.Run(ctx, dir, cluster.Options{})
	if err != nil {
		return "", nil, err
	}
	if err := createAccounts(ctx, c.Config, accounts); err != nil {
		stop()
		return "", nil, fmt.Errorf("create service accounts: %w", err)
	}
	return c.Kubeconfig, stop, nil
}

func createAccounts(ctx context.Context, config *rest.Config, count int) error {
	config = rest.CopyConfig(config)
	config.QPS = -1 // no limit
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	if _, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: namespace},
	}, metav1.CreateOptions{}); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for i := range count {
		group.Go(func() error {
			for kind := range kinds {
				account := &corev1.ServiceAccount{
					ObjectMeta: metav1.ObjectMeta{
						Name:   accountName(kind, i),
						Labels: map[string]string{"app.kubernetes.io/name": "app"},
					},
				}
				if kind == withRole {
					account.Annotations = map[string]string{"eks.amazonaws.com/role-arn": roleARN(i)}
				}
				if _, err := client.CoreV1().ServiceAccounts(namespace).Create(
					ctx, account, metav1.CreateOptions{},
				); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// hook is a webhook in a process of its own.
type hook struct {
	contender.Process
	url string
	// log is what it says, as a file.
	log string
}

// webhooks are ours and AWS's, not started, and the authority of their certificate.
func (c *comparison) webhooks(ctx context.Context, dir, kubeconfig string) ([]hook, []byte, error) {
	certificate, key, authority, err := writeCertificate(dir)
	if err != nil {
		return nil, nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	ports, err := contender.FreePorts(4)
	if err != nil {
		return nil, nil, err
	}
	var hooks []hook
	add := func(name, port, program string, args ...string) error {
		one := hook{
			url: "https://" + net.JoinHostPort("127.0.0.1", port) + "/mutate",
			log: filepath.Join(dir, port+".log"),
		}
		one.Name, one.Cmd = name, exec.CommandContext(
			ctx,
			program,
			append(
				args, "--kubeconfig", kubeconfig, "--in-cluster=false", "--tls-cert", certificate, "--tls-key", key,
			)...)
		// A file and no pipe: nobody's reading is measured.
		log, err := os.Create(one.log)
		if err != nil {
			return err
		}
		one.Cmd.Stderr = log
		hooks = append(hooks, one)
		return nil
	}
	if err := add(
		"rolecall", ports[0], self, "serve", "webhook", "--listen", net.JoinHostPort("127.0.0.1", ports[0]),
		"--metrics-listen", net.JoinHostPort("127.0.0.1", ports[1]),
	); err != nil {
		return nil, nil, err
	}
	hooks[0].Cmd.Env = append(os.Environ(), roleVariable+"=webhook")
	if path, err := exec.LookPath(c.peer); err == nil {
		if err := add("AWS's webhook", ports[2], path, "--port", ports[2], "--metrics-port", ports[3]); err != nil {
			return nil, nil, err
		}
	} else {
		fmt.Fprintf(os.Stderr, "%s is not on this machine and is left out\n", c.peer)
	}
	return hooks, authority, nil
}

func writeCertificate(dir string) (certificate, key string, authority []byte, err error) {
	day := 24 * time.Hour
	ring, err := (&pki.Ring{}).Plan(time.Now(), pki.Lifetimes{
		Authority: 9 * day,
		Serving:   3 * day,
		Settle:    time.Minute,
	}, "compare-webhook", "127.0.0.1")
	if err != nil {
		return "", "", nil, err
	}
	text, err := ring.Encode()
	if err != nil {
		return "", "", nil, err
	}
	certificate, key = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	if err := os.WriteFile(certificate, text.Certificate, 0o600); err != nil {
		return "", "", nil, err
	}
	return certificate, key, text.Authorities, os.WriteFile(key, text.Key, 0o600)
}

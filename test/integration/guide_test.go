package integration_test

import (
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/test/cluster"
	"github.com/rolecall/rolecall/test/pages"
)

// guideBlock is the code block behind a mark of a page of docs/guide.
func guideBlock(t *testing.T, page, mark string) string {
	t.Helper()
	block, err := pages.Block(filepath.Join("..", "..", "docs", "guide", page), mark)
	if err != nil {
		t.Fatal(err)
	}
	return block
}

// applyGuide makes the objects of a block, as kubectl apply does.
func applyGuide(t *testing.T, c *cluster.Cluster, page, mark string) {
	t.Helper()
	client, err := dynamic.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	for text := range strings.SplitSeq(guideBlock(t, page, mark), "---\n") {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &object.Object); err != nil {
			t.Fatal(err)
		}
		resource, _ := meta.UnsafeGuessKindToResource(object.GroupVersionKind())
		var kind dynamic.ResourceInterface = client.Resource(resource)
		if namespace := object.GetNamespace(); namespace != "" {
			kind = client.Resource(resource).Namespace(namespace)
		}
		if _, err := kind.Create(t.Context(), object, metav1.CreateOptions{
			FieldValidation: metav1.FieldValidationStrict,
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// kubeconfigOf is a file for a service account of rolecall-system, which can do what
// it is allowed and no more.
func kubeconfigOf(t *testing.T, c *cluster.Cluster, account string) string {
	t.Helper()
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{
		Server:                   c.Config.Host,
		CertificateAuthorityData: c.Config.CAData,
		CertificateAuthority:     c.Config.CAFile,
		InsecureSkipTLSVerify:    c.Config.Insecure,
	}
	config.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: boundTokenIn(t, c, "rolecall-system", account, nil, "")}
	config.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	config.CurrentContext = "x"
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	return file
}

package plane

import (
	"github.com/rolecall/rolecall/examples/quickstart"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/eks"
)

// SetEndpoint makes EKS say of the quickstart's cluster that its API server is at a URL,
// with an authority in PEM.
func (p *Plane) SetEndpoint(url string, ca []byte) error {
	return p.accounts.Update(func(state account.State) error {
		cluster, err := eks.GetCluster(state, quickstart.Region, quickstart.Cluster)
		if err != nil {
			return err
		}
		cluster.Endpoint, cluster.CA = url, string(ca)
		return eks.PutCluster(state, cluster)
	})
}

// AdminARN is the local administrator's.
func (p *Plane) AdminARN() string {
	return "arn:aws:iam::" + quickstart.Account + ":user/" + account.Admin
}

// KeyPEM is the private key of the issuer's tokens, for an API server that makes tokens of
// the same issuer.
func (p *Plane) KeyPEM() ([]byte, error) { return p.key.PEM() }

package iam

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/lazyregexp"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/token"
)

var (
	urlLimit      = wire.Constraint{Min: 1, Max: 255}
	clientIDLimit = wire.Constraint{Min: 1, Max: 255}
	withScheme    = lazyregexp.New(`^[a-z]+://`)
)

func newProviderTarget(q *service.Call) (service.Target, error) {
	return service.Target{ARN: arn.OIDCProvider(q.Account.Partition, q.Account.ID, q.Get("Url")).String()}, nil
}

func providerTarget(q *service.Call) (service.Target, error) {
	target := service.Target{ARN: q.Get("OpenIDConnectProviderArn")}
	id, found := strings.CutPrefix(target.ARN, arn.OIDCProvider(q.Account.Partition, q.Account.ID, "").String())
	if !found {
		return target, nil
	}
	err := q.Account.View(func(state account.State) error {
		stored, err := state.Provider(id)
		if err == nil {
			target.Tags = stored.Tags
		}
		return unlessNotFound(err)
	})
	return target, err
}

type createdProvider struct {
	ARN  string                 `xml:"OpenIDConnectProviderArn" json:"OpenIDConnectProviderArn"`
	Tags wire.List[account.Tag] `xml:",omitempty" json:",omitempty"`
}

func createProvider(q *service.Call) (any, error) {
	issuer := q.Text("Url", urlLimit)
	if err := q.Check(); err != nil {
		return nil, err
	}
	if err := CheckURL(issuer); err != nil {
		return nil, err
	}
	provider := &account.Provider{
		IssuerID:  arn.IssuerID(issuer),
		ClientIDs: unique(q.List("ClientIDList")),
		Created:   q.Time.UTC(),
	}
	if len(provider.ClientIDs) > maxClientIDs {
		return nil, limitExceeded("Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: %d", maxClientIDs)
	}
	for _, id := range provider.ClientIDs {
		if id == "" || len(id) > 255 {
			return nil, wire.Errorf(
				http.StatusBadRequest, "ValidationError",
				"1 validation error detected: Value at 'clientIDList' failed to satisfy constraint: Member must "+
					"have length between 1 and 255",
			)
		}
	}
	var err error
	if provider.Thumbprints, err = thumbprints(q); err != nil {
		return nil, err
	}
	tags, err := readTags(q)
	if err != nil {
		return nil, err
	}
	if provider.Tags, err = mergeTags(nil, tags); err != nil {
		return nil, err
	}
	err = q.Account.Update(func(state account.State) error {
		if _, err := state.Provider(provider.IssuerID); !errors.Is(err, account.ErrNotFound) {
			return orConflict(err, "Provider with url %s already exists.", issuer)
		}
		return errors.Join(
			room(state.CountProviders(), "OpenIdConnectProvidersPerAccount", maxProviders), state.PutProvider(provider),
		)
	})
	if err != nil {
		return nil, wrap(err, "create provider %q", issuer)
	}
	return createdProvider{q.Account.ProviderARN(provider), provider.Tags}, nil
}

// CheckURL is spec issuer-and-sts §4.2 and §6.2.
func CheckURL(issuer string) error {
	parsed, err := url.Parse(issuer)
	switch {
	case !withScheme.MatchString(issuer) || err != nil:
		return wire.Errorf(http.StatusBadRequest, "ValidationError", "Invalid Open ID Connect Provider URL")
	case !strings.HasPrefix(issuer, "https://"):
		return invalidInput("Invalid Open ID Connect Provider URL. The URL must begin with https://.")
	case strings.ContainsAny(issuer, "?#"):
		return wire.Errorf(http.StatusBadRequest, "InvalidInput", "Unknown").
			Because("an issuer URL has neither query nor fragment")
	case parsed.Port() != "" && parsed.Port() != "443":
		return invalidInput("Invalid Open ID Connect Provider URL. The URL must not name a port.")
	}
	if err := token.CheckIssuer(issuer); err != nil {
		return invalidInput("Invalid Open ID Connect Provider URL. %s", err)
	}
	return nil
}

func thumbprints(q *service.Call) ([]string, error) {
	list := q.List("ThumbprintList")
	if len(list) > maxThumbprints {
		return nil, invalidInput("Thumbprint list must contain fewer than 5 entries.")
	}
	for i, thumbprint := range list {
		if len(thumbprint) != 40 {
			return nil, wire.Errorf(
				http.StatusBadRequest, "ValidationError",
				"1 validation error detected: Value '%s' at 'thumbprintList' failed to satisfy constraint: Member "+
					"must have length equal to 40",
				thumbprint,
			)
		}
		list[i] = strings.ToLower(thumbprint)
	}
	return list, nil
}

// unique drops repetitions, keeping the first.
func unique(texts []string) []string {
	var kept []string
	for _, text := range texts {
		if !slices.Contains(kept, text) {
			kept = append(kept, text)
		}
	}
	return kept
}

// issuerID reads the request's provider ARN; anything else than a provider of
// this account is not there.
func issuerID(q *service.Call, notFound string) (string, error) {
	text := q.Text("OpenIDConnectProviderArn", arnLimit)
	if err := q.Check(); err != nil {
		return "", err
	}
	id, found := strings.CutPrefix(text, arn.OIDCProvider(q.Account.Partition, q.Account.ID, "").String())
	if !found {
		return "", noSuchEntity(notFound, text)
	}
	return id, nil
}

const (
	getNotFound    = "OpenIDConnect Provider not found for arn %s"
	deleteNotFound = "OpenId connect Provider %s cannot be found."
)

func readProvider(q *service.Call) (*account.Provider, error) {
	id, err := issuerID(q, getNotFound)
	if err != nil {
		return nil, err
	}
	var provider *account.Provider
	err = q.Account.View(func(state account.State) (err error) {
		provider, err = findProvider(state, id, q)
		return err
	})
	return provider, wrap(err, "read provider %q", id)
}

func findProvider(state account.State, id string, q *service.Call) (*account.Provider, error) {
	provider, err := state.Provider(id)
	if errors.Is(err, account.ErrNotFound) {
		return nil, noSuchEntity(getNotFound, q.Get("OpenIDConnectProviderArn"))
	}
	return provider, err
}

func changeProvider(q *service.Call, apply func(*account.Provider) error) error {
	id, err := issuerID(q, getNotFound)
	if err != nil {
		return err
	}
	return wrap(q.Account.Update(func(state account.State) error {
		provider, err := findProvider(state, id, q)
		if err != nil {
			return err
		}
		if err := apply(provider); err != nil {
			return err
		}
		return state.PutProvider(provider)
	}), "change provider %q", id)
}

type providerResult struct {
	URL            string `xml:"Url" json:"Url"`
	ClientIDList   wire.List[string]
	ThumbprintList wire.List[string]
	CreateDate     wire.MilliTime
	Tags           wire.List[account.Tag]
}

func getProvider(q *service.Call) (any, error) {
	p, err := readProvider(q)
	if err != nil {
		return nil, err
	}
	return providerResult{p.IssuerID, p.ClientIDs, p.Thumbprints, wire.MilliTime(p.Created), p.Tags}, nil
}

type providersResult struct {
	List wire.List[providerARN] `xml:"OpenIDConnectProviderList" json:"OpenIDConnectProviderList"`
}

type providerARN struct {
	ARN string `xml:"Arn" json:"Arn"`
}

func listProviders(q *service.Call) (any, error) {
	var result providersResult
	err := q.Account.View(func(state account.State) error {
		providers, err := state.Providers()
		for _, p := range providers {
			result.List = append(result.List, providerARN{q.Account.ProviderARN(p)})
		}
		return err
	})
	return result, wrap(err, "list providers")
}

func deleteProvider(q *service.Call) (any, error) {
	id, err := issuerID(q, deleteNotFound)
	if err != nil {
		return nil, err
	}
	return nil, wrap(q.Account.Update(func(state account.State) error {
		if _, err := state.Provider(id); errors.Is(err, account.ErrNotFound) {
			return noSuchEntity(deleteNotFound, q.Get("OpenIDConnectProviderArn"))
		}
		return state.DeleteProvider(id)
	}), "delete provider %q", id)
}

func addClientID(q *service.Call) (any, error) {
	id := q.Text("ClientID", clientIDLimit)
	return nil, changeProvider(q, func(p *account.Provider) error {
		p.ClientIDs = unique(append(p.ClientIDs, id))
		if len(p.ClientIDs) > maxClientIDs {
			return limitExceeded("Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: %d", maxClientIDs)
		}
		return nil
	})
}

func removeClientID(q *service.Call) (any, error) {
	id := q.Text("ClientID", clientIDLimit)
	return nil, changeProvider(q, func(p *account.Provider) error {
		p.ClientIDs = slices.DeleteFunc(p.ClientIDs, func(known string) bool { return known == id })
		return nil
	})
}

func updateThumbprint(q *service.Call) (any, error) {
	list, err := thumbprints(q)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, invalidInput("Thumbprint list must contain at least one entry.")
	}
	return nil, changeProvider(q, func(p *account.Provider) error {
		p.Thumbprints = list
		return nil
	})
}

func tagProvider(q *service.Call) (any, error) {
	tags, err := readTags(q)
	if err != nil {
		return nil, err
	}
	return nil, changeProvider(q, func(p *account.Provider) (err error) {
		p.Tags, err = mergeTags(p.Tags, tags)
		return err
	})
}

func untagProvider(q *service.Call) (any, error) {
	return nil, changeProvider(q, func(p *account.Provider) error {
		p.Tags = removeTags(p.Tags, q.List("TagKeys"))
		return nil
	})
}

func listProviderTags(q *service.Call) (any, error) {
	p, err := readProvider(q)
	if err != nil {
		return nil, err
	}
	return listTags(q, p.Tags)
}

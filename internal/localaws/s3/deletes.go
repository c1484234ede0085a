package s3

import (
	"encoding/xml"
	"errors"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/wire"
)

// deletion is one object of a list to delete.
type deletion struct{ Key, VersionId string }

func parseDeletions(body []byte) (objects []deletion, quiet bool, err error) {
	var given struct {
		XMLName xml.Name   `xml:"Delete"`
		Quiet   bool       `xml:"Quiet"`
		Objects []deletion `xml:"Object"`
	}
	if err := parseXML(body, &given); err != nil {
		return nil, false, err
	}
	if len(given.Objects) == 0 || len(given.Objects) > maxPage {
		return nil, false, malformedXML()
	}
	return given.Objects, given.Quiet, nil
}

type deletedXML struct{ Key string }

type notDeletedXML struct{ Key, Code, Message string }

type deleteXML struct {
	XMLName xml.Name        `xml:"http://s3.amazonaws.com/doc/2006-03-01/ DeleteResult"`
	Deleted []deletedXML    `xml:"Deleted"`
	Errors  []notDeletedXML `xml:"Error"`
}

// deleteObjects decides and deletes one by one: refusals are listed in the
// answer.
func deleteObjects(c *call) (any, error) {
	if _, err := c.checkBody(""); err != nil {
		return nil, err
	}
	objects, quiet, err := parseDeletions(c.Body)
	if err != nil {
		return nil, err
	}
	var result deleteXML
	var allowed []string
	for _, one := range objects {
		err := c.mayDelete(one)
		if refused, ok := errors.AsType[*wire.Error](err); ok {
			result.Errors = append(result.Errors, notDeletedXML{one.Key, refused.Code, refused.Message})
			continue
		}
		if err != nil {
			return nil, err
		}
		allowed = append(allowed, one.Key)
		if !quiet {
			result.Deleted = append(result.Deleted, deletedXML{one.Key})
		}
	}
	return result, c.Accounts.Update(func(state account.State) error {
		for _, key := range allowed {
			if err := dropObject(state, c.name, key); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *call) mayDelete(one deletion) error {
	if one.Key == "" || (one.VersionId != "" && one.VersionId != "null") {
		return badRequest("NoSuchVersion", "The specified version does not exist.")
	}
	object, err := c.other(c.name, one.Key)
	if err != nil {
		return err
	}
	return object.allow("DeleteObject", onObject)
}
